// The graph: visible states as buttons in the page, visible edges in one SVG; zoomed far out, everything on a canvas.
// Statuses of states are separate from the picture, so that a run changes only classes.

import type { Node, Picture } from '../backend/types';
import type { Status } from './trace';
import { boxOf, headsOf, lineOf, pathsOf, wayOf } from './path';

const SVG = 'http://www.w3.org/2000/svg';
/** Below this, single letters cannot be read. */
const FAR = 0.35;
const SCALE_MIN = 0.02;
const SCALE_MAX = 2.5;
/** The size of the cells of the spatial index. */
const CELL = 600;
const MARGIN = 200;

type Box = [number, number, number, number];

/** Finds the items in a rectangle. */
class Grid {
  private cells = new Map<number, number[]>();
  add(n: number, [x1, y1, x2, y2]: Box) {
    for (let i = Math.floor(x1 / CELL); i <= Math.floor(x2 / CELL); i++)
      for (let j = Math.floor(y1 / CELL); j <= Math.floor(y2 / CELL); j++) {
        const key = i * 100_003 + j;
        const cell = this.cells.get(key);
        if (cell) cell.push(n);
        else this.cells.set(key, [n]);
      }
  }
  in([x1, y1, x2, y2]: Box): Set<number> {
    const found = new Set<number>();
    for (let i = Math.floor(x1 / CELL); i <= Math.floor(x2 / CELL); i++)
      for (let j = Math.floor(y1 / CELL); j <= Math.floor(y2 / CELL); j++)
        for (const n of this.cells.get(i * 100_003 + j) ?? []) found.add(n);
    return found;
  }
}

const NONE: Picture = { width: 0, height: 0, start: null, nodes: [], edges: [], paths: [], labels: [], marks: [], frames: [] };

/** How busy states and edges are: `level` from 0 to 1, and its label. Edges are called `from\nto`. */
export interface Glow {
  states: Map<string, { level: number; label: string; bad: boolean }>;
  edges: Map<string, { level: number; label: string }>;
}

export class GraphView {
  private picture: Picture = NONE;
  private scale = 1;
  private x = 0;
  private y = 0;
  private nodes = new Grid();
  private paths = new Grid();
  private labels = new Grid();
  private frames = new Grid();
  private shown = new Map<number, HTMLElement[]>();
  private drawnPaths = new Map<string, SVGElement>();
  private statuses: Status[] = [];
  private counts: number[] = [];
  private passed = new Uint8Array(0);
  private glow: Glow | null = null;
  /** By path: how busy it is. */
  private levels = new Float32Array(0);
  private selected: string | null = null;
  private marked = new Set<number>();
  private stops: Set<string> = new Set();
  private fitted = false;
  private frame = 0;
  private readonly layer = document.createElement('div');
  private readonly svg = document.createElementNS(SVG, 'svg');
  private readonly canvas = document.createElement('canvas');
  private readonly sized: ResizeObserver;

  constructor(
    private readonly host: HTMLElement,
    private readonly onSelect: (node: Node) => void,
  ) {
    this.layer.className = 'layer';
    this.svg.setAttribute('aria-hidden', 'true');
    this.svg.innerHTML =
      '<defs>' +
      ['next', 'catch', 'passed']
        .map(
          (way) =>
            `<marker id="head-${way}" class="head ${way}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="9" markerHeight="9" markerUnits="userSpaceOnUse" orient="auto-start-reverse"><path d="M0 0L10 5L0 10z"/></marker>`,
        )
        .join('') +
      '</defs>';
    this.layer.append(this.svg);
    this.canvas.setAttribute('aria-hidden', 'true');
    host.append(this.canvas, this.layer);
    host.addEventListener('pointerdown', this.down);
    host.addEventListener('wheel', this.wheel, { passive: false });
    host.addEventListener('keydown', this.key);
    host.addEventListener('focusin', this.focused);
    this.sized = new ResizeObserver(() => {
      if (!this.fitted) this.home();
      this.draw();
    });
    this.sized.observe(host);
  }

  destroy() {
    this.sized.disconnect();
    cancelAnimationFrame(this.frame);
    this.host.replaceChildren();
  }

  /** Draws another picture. The view keeps its position, unless there was no picture. */
  show(picture: Picture | null) {
    const first = this.picture === NONE;
    const before = this.anchor();
    this.picture = picture ?? NONE;
    this.nodes = new Grid();
    this.paths = new Grid();
    this.labels = new Grid();
    this.frames = new Grid();
    this.picture.nodes.forEach((it, n) => this.nodes.add(n, [it.x, it.y, it.x + it.w, it.y + it.h]));
    this.picture.paths.forEach((it, n) => this.paths.add(n, boxOf(it)));
    this.picture.labels.forEach((it, n) => this.labels.add(n, [it.x - it.w / 2, it.y - it.h / 2, it.x + it.w / 2, it.y + it.h / 2]));
    this.picture.frames.forEach((it, n) => this.frames.add(n, [it.x, it.y, it.x + it.w, it.y + it.h]));
    this.passed = new Uint8Array(this.picture.paths.length);
    this.levels = new Float32Array(this.picture.paths.length);
    this.statuses = [];
    this.counts = [];
    this.marked.clear();
    this.clear();
    if (first) {
      this.fitted = false;
      this.home();
    } else if (!before) this.home();
    else {
      // The state in view keeps its position.
      const same = this.picture.nodes.find((node) => node.name === before.name);
      if (same) {
        this.x += (before.x - same.x - same.w / 2) * this.scale;
        this.y += (before.y - same.y) * this.scale;
      } else this.home();
    }
    this.draw();
  }

  /** Colours states and edges. */
  colour(states: Map<string, { status: Status; visits: number }>, edges: Set<number>) {
    this.statuses = this.picture.nodes.map((node) => states.get(node.name)?.status ?? '');
    this.counts = this.picture.nodes.map((node) => states.get(node.name)?.visits ?? 0);
    this.passed.fill(0);
    for (const edge of edges) for (const path of pathsOf(this.picture, this.picture.edges[edge])) this.passed[path] = 1;
    for (const [n, elements] of this.shown) this.dress(n, elements);
    for (const path of this.drawnPaths.values()) path.remove();
    this.drawnPaths.clear();
    this.draw();
  }

  /** Shows or hides how busy states and edges are. */
  heat(glow: Glow | null) {
    this.glow = glow;
    this.levels.fill(0);
    const names = new Map(this.picture.nodes.map((node) => [node.id, node.name]));
    for (const edge of glow ? this.picture.edges : []) {
      const level = glow!.edges.get(`${names.get(edge.from) ?? ''}\n${names.get(edge.to) ?? ''}`)?.level ?? 0;
      if (level > 0) for (const path of pathsOf(this.picture, edge)) this.levels[path] = Math.max(this.levels[path]!, level);
    }
    for (const [n, elements] of this.shown) this.dress(n, elements);
    for (const [key, element] of this.drawnPaths) if (key[0] === 'p') this.warm(Number(key.slice(1)), element);
    if (this.scale < FAR) this.draw();
  }

  private warm(n: number, path: SVGElement) {
    const level = this.levels[n]!;
    path.style.strokeWidth = level > 0 ? `${(1.4 + 6 * Math.sqrt(level)).toFixed(1)}` : '';
    path.classList.toggle('hot', level > 0);
  }

  select(name: string | null, reveal = false) {
    this.selected = name;
    for (const [n, elements] of this.shown) this.dress(n, elements);
    const node = name === null ? undefined : this.picture.nodes.find((it) => it.name === name);
    if (node && reveal) this.reveal(node);
    this.draw();
  }

  /** Marks the states with problems, by their ids. */
  mark(ids: Iterable<number>) {
    this.marked = new Set(ids);
    for (const [n, elements] of this.shown) this.dress(n, elements);
  }

  /** States with a breakpoint. */
  stop(names: Set<string>) {
    this.stops = names;
    for (const [n, elements] of this.shown) this.dress(n, elements);
  }

  /** Shows the whole picture if it stays readable; otherwise its beginning. */
  home() {
    const { clientWidth: width, clientHeight: height } = this.host;
    if (!width || !height || this.picture === NONE) return;
    this.fitted = true;
    const whole = Math.min(width / this.picture.width, height / this.picture.height, 1);
    this.scale = whole >= 0.6 ? whole : Math.max(Math.min(width / this.picture.width, 1), 0.75);
    const mark = this.picture.marks[0];
    this.y = 0;
    this.x =
      this.picture.width * this.scale <= width || !mark
        ? (width - this.picture.width * this.scale) / 2
        : width / 2 - mark.x * this.scale;
    this.draw();
  }

  whole() {
    const { clientWidth: width, clientHeight: height } = this.host;
    this.scale = Math.max(SCALE_MIN, Math.min(width / this.picture.width, height / this.picture.height, 1));
    this.x = (width - this.picture.width * this.scale) / 2;
    this.y = (height - this.picture.height * this.scale) / 2;
    this.draw();
  }

  zoom(factor: number, x = this.host.clientWidth / 2, y = this.host.clientHeight / 2) {
    const scale = Math.min(SCALE_MAX, Math.max(SCALE_MIN, this.scale * factor));
    this.x = x - ((x - this.x) * scale) / this.scale;
    this.y = y - ((y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.draw();
  }

  /** How many elements there are, for tests. */
  get size() {
    return this.host.querySelectorAll('*').length;
  }

  private reveal(node: Node) {
    const { clientWidth: width, clientHeight: height } = this.host;
    const [left, top] = [node.x * this.scale + this.x, node.y * this.scale + this.y];
    const high = Math.min(node.h, 60) * this.scale;
    if (left < 0 || left + node.w * this.scale > width) this.x = width / 2 - (node.x + node.w / 2) * this.scale;
    if (top < 0 || top + high > height) this.y = height / 3 - node.y * this.scale;
  }

  /** A state in view: the selected one, or the one nearest to the middle. */
  private anchor(): { name: string; x: number; y: number } | null {
    const view = this.view();
    const [x, y] = [(view[0] + view[2]) / 2, (view[1] + view[3]) / 2];
    let best: Node | null = null;
    let near = Infinity;
    for (const n of this.nodes.in(view)) {
      const node = this.picture.nodes[n]!;
      const far = node.name === this.selected ? -1 : Math.hypot(node.x + node.w / 2 - x, node.y - y);
      if (far < near) [best, near] = [node, far];
    }
    return best && { name: best.name, x: best.x + best.w / 2, y: best.y };
  }

  private view(): Box {
    const [x, y] = [-this.x / this.scale, -this.y / this.scale];
    return [x, y, x + this.host.clientWidth / this.scale, y + this.host.clientHeight / this.scale];
  }

  private draw() {
    if (!this.frame)
      this.frame = requestAnimationFrame(() => {
        this.frame = 0;
        this.drawNow();
      });
  }

  private drawNow() {
    const far = this.scale < FAR;
    this.canvas.hidden = !far;
    this.layer.hidden = far;
    this.layer.style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.scale})`;
    if (far) return this.paint();
    const [x1, y1, x2, y2] = this.view();
    const view: Box = [x1 - MARGIN, y1 - MARGIN, x2 + MARGIN, y2 + MARGIN];
    this.svg.setAttribute('width', String(this.picture.width));
    this.svg.setAttribute('height', String(this.picture.height));
    const nodes = this.nodes.in(view);
    for (const [n, elements] of this.shown)
      if (!nodes.has(n) && !elements.includes(document.activeElement as HTMLElement)) {
        elements.forEach((it) => it.remove());
        this.shown.delete(n);
      }
    // In the order of the text, which is the Tab order.
    for (const n of [...nodes].sort((a, b) => a - b)) if (!this.shown.has(n)) this.put(n);
    const wanted = new Set<string>();
    for (const n of this.frames.in(view)) this.want(wanted, `f${n}`, () => this.frameElement(n));
    for (const n of this.paths.in(view)) this.want(wanted, `p${n}`, () => this.pathElement(n));
    for (const n of this.labels.in(view)) this.want(wanted, `l${n}`, () => this.labelElement(n));
    this.picture.marks.forEach((mark, n) => {
      if (mark.x > view[0] && mark.x < view[2] && mark.y > view[1] && mark.y < view[3])
        this.want(wanted, `m${n}`, () => this.markElement(n));
    });
    for (const [key, element] of this.drawnPaths)
      if (!wanted.has(key)) {
        element.remove();
        this.drawnPaths.delete(key);
      }
  }

  private want(wanted: Set<string>, key: string, make: () => SVGElement) {
    wanted.add(key);
    if (this.drawnPaths.has(key)) return;
    const element = make();
    this.drawnPaths.set(key, element);
    this.svg.append(element);
  }

  private element(name: string, attributes: Record<string, string | number>): SVGElement {
    const element = document.createElementNS(SVG, name) as SVGElement;
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
    return element;
  }

  private frameElement(n: number) {
    const { x, y, w, h } = this.picture.frames[n]!;
    return this.element('rect', { class: 'frame', x, y, width: w, height: h, rx: 6 });
  }

  private pathElement(n: number) {
    const path = this.picture.paths[n]!;
    const [d, way, heads] = [lineOf(path), wayOf(path), headsOf(path)];
    const passed = this.passed[n] === 1;
    const head = `url(#head-${passed ? 'passed' : way})`;
    const element = this.element('path', { class: `edge ${way}${passed ? ' passed' : ''}`, d });
    if (heads[0]) element.setAttribute('marker-start', head);
    if (heads[1]) element.setAttribute('marker-end', head);
    this.warm(n, element);
    return element;
  }

  private labelElement(n: number) {
    const { x, y, w, h, lines, way } = this.picture.labels[n]!;
    const group = this.element('g', { class: `label ${way}` });
    group.append(this.element('rect', { x: x - w / 2, y: y - h / 2, width: w, height: h, rx: 3 }));
    lines.forEach((line, i) => {
      const text = this.element('text', { x, y: y - h / 2 + 13 + i * 14, 'text-anchor': 'middle' });
      text.textContent = line;
      group.append(text);
    });
    return group;
  }

  private markElement(n: number) {
    const { x, y, end } = this.picture.marks[n]!;
    return this.element('circle', { class: end ? 'mark end' : 'mark', cx: x, cy: y, r: end ? 6 : 8 });
  }

  private put(n: number) {
    const node = this.picture.nodes[n]!;
    const elements: HTMLElement[] = [];
    const button = document.createElement('button');
    button.type = 'button';
    if (node.holds) {
      const box = document.createElement('div');
      box.style.cssText = `left:${node.x}px;top:${node.y}px;width:${node.w}px;height:${node.h}px`;
      elements.push(box);
    }
    const height = node.holds ? node.lines.length * 17 + 14 + 12 : node.h;
    button.style.cssText = `left:${node.x}px;top:${node.y}px;width:${node.w}px;height:${height}px`;
    node.lines.forEach((line) => {
      const name = document.createElement('span');
      name.className = 'name';
      name.textContent = line;
      button.append(name);
    });
    const small = document.createElement('span');
    small.className = 'small';
    small.textContent = node.small;
    const badge = document.createElement('span');
    badge.className = 'badge';
    badge.setAttribute('aria-hidden', 'true');
    const said = document.createElement('span');
    said.className = 'sr';
    button.dataset.name = node.name;
    button.append(small, badge, said);
    button.addEventListener('click', () => this.onSelect(node));
    elements.push(button);
    this.dress(n, elements);
    this.shown.set(n, elements);
    // At its place in the text's order, which is the Tab order.
    let after = n + 1;
    while (after < this.picture.nodes.length && !this.shown.has(after)) after++;
    const next = this.shown.get(after)?.[0] ?? null;
    elements.forEach((it) => this.layer.insertBefore(it, next));
  }

  private dress(n: number, elements: HTMLElement[]) {
    const node = this.picture.nodes[n]!;
    const status = this.statuses[n] ?? '';
    const visits = this.counts[n] ?? 0;
    const button = elements[elements.length - 1]!;
    button.className = `state ${node.kind.toLowerCase()}${status && ` is-${status}`}${node.name === this.selected ? ' selected' : ''}${this.marked.has(n) ? ' wrong' : ''}${node.holds ? ' header' : ''}${this.stops.has(node.name) ? ' stop' : ''}`;
    if (elements.length > 1) elements[0]!.className = `holder ${node.kind.toLowerCase()}${status && ` is-${status}`}`;
    button.setAttribute('aria-pressed', String(node.name === this.selected));
    const said = status && `, ${status === 'open' ? 'under way' : status}${visits > 1 ? `, ${visits} visits` : ''}`;
    button.querySelector('.sr')!.textContent = `${said}${this.marked.has(n) ? ', has a problem' : ''}`;
    const glow = this.glow?.states.get(node.name);
    button.querySelector('.badge')!.textContent = glow ? glow.label : visits > 1 ? `×${visits}` : '';
    if (glow) button.querySelector('.sr')!.textContent = `, ${glow.label}`;
    const warm = glow && glow.level > 0 ? `${Math.round(12 + 58 * glow.level)}%` : '';
    const body = elements[0]!;
    body.classList.toggle('hot', warm !== '');
    body.classList.toggle('hot-bad', warm !== '' && glow!.bad);
    body.style.setProperty('--warm', warm);
  }

  private clear() {
    for (const elements of this.shown.values()) elements.forEach((it) => it.remove());
    this.shown.clear();
    for (const element of this.drawnPaths.values()) element.remove();
    this.drawnPaths.clear();
  }

  /** All of it, small. */
  private paint() {
    const { clientWidth: width, clientHeight: height } = this.host;
    const ratio = devicePixelRatio || 1;
    this.canvas.width = width * ratio;
    this.canvas.height = height * ratio;
    const context = this.canvas.getContext('2d');
    if (!context) return;
    const style = getComputedStyle(this.host);
    const of = (name: string) => style.getPropertyValue(name);
    context.setTransform(ratio * this.scale, 0, 0, ratio * this.scale, ratio * this.x, ratio * this.y);
    const view = this.view();
    context.lineWidth = Math.max(1.3, 0.7 / this.scale);
    for (const n of this.paths.in(view)) {
      const path = this.picture.paths[n]!;
      context.lineWidth = Math.max(1.3, 0.7 / this.scale) * (1 + 4 * this.levels[n]!);
      context.strokeStyle = this.levels[n]! > 0 ? of('--hot') : this.passed[n] ? of('--good') : wayOf(path) === 'catch' ? of('--bad') : of('--edge');
      context.stroke(new Path2D(lineOf(path)));
    }
    for (const n of [...this.nodes.in(view)].sort((a, b) => a - b)) {
      const node = this.picture.nodes[n]!;
      const status = this.statuses[n];
      context.fillStyle = of(
        status === 'succeeded' ? '--good-soft' : status === 'failed' ? '--bad-soft' : status ? '--busy-soft' : '--panel',
      );
      context.strokeStyle = node.name === this.selected ? of('--accent') : of('--edge');
      context.fillRect(node.x, node.y, node.w, node.h);
      const glow = this.glow?.states.get(node.name);
      if (glow && !node.holds) {
        context.globalAlpha = 0.15 + 0.7 * glow.level;
        context.fillStyle = of(glow.bad ? '--bad' : '--hot');
        context.fillRect(node.x, node.y, node.w, node.h);
        context.globalAlpha = 1;
      }
      context.strokeRect(node.x, node.y, node.w, node.h);
      if (this.scale * node.h > 9 || node.holds) {
        context.fillStyle = of('--text');
        context.font = `600 ${Math.min(node.h * 0.5, 13 / Math.max(this.scale, 0.15) / 2)}px sans-serif`;
        context.textAlign = 'center';
        context.fillText(node.lines[0] ?? '', node.x + node.w / 2, node.y + Math.min(node.h * 0.6, 26), node.w);
      }
    }
  }

  private down = (event: PointerEvent) => {
    if (event.button !== 0 || (event.target as Element).closest('button.state')) return;
    const [x, y] = [event.clientX - this.x, event.clientY - this.y];
    this.host.setPointerCapture(event.pointerId);
    const move = (event: PointerEvent) => {
      this.x = event.clientX - x;
      this.y = event.clientY - y;
      this.draw();
    };
    const up = () => {
      this.host.removeEventListener('pointermove', move);
      this.host.removeEventListener('pointerup', up);
      this.host.removeEventListener('pointercancel', up);
    };
    this.host.addEventListener('pointermove', move);
    this.host.addEventListener('pointerup', up);
    this.host.addEventListener('pointercancel', up);
  };

  private wheel = (event: WheelEvent) => {
    event.preventDefault();
    if (event.ctrlKey || event.metaKey) {
      const box = this.host.getBoundingClientRect();
      this.zoom(Math.exp(-event.deltaY / 300), event.clientX - box.left, event.clientY - box.top);
      return;
    }
    this.x -= event.shiftKey ? event.deltaY : event.deltaX;
    this.y -= event.shiftKey ? 0 : event.deltaY;
    this.draw();
  };

  private key = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = 80;
    if (event.key === '+' || event.key === '=') this.zoom(1.2);
    else if (event.key === '-') this.zoom(1 / 1.2);
    else if (event.key === '0') this.home();
    else if (event.key === 'ArrowLeft') this.x += step;
    else if (event.key === 'ArrowRight') this.x -= step;
    else if (event.key === 'ArrowUp') this.y += step;
    else if (event.key === 'ArrowDown') this.y -= step;
    else return;
    event.preventDefault();
    this.draw();
  };

  private focused = (event: FocusEvent) => {
    for (const [n, elements] of this.shown)
      if (elements.includes(event.target as HTMLElement)) {
        // The browser scrolls to the focused element; the view is moved instead.
        this.host.scrollTo(0, 0);
        this.reveal(this.picture.nodes[n]!);
        this.draw();
      }
  };
}
