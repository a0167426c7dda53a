// Lines that differ, by the shortest edit (Myers). Long texts are compared up to a limit, and the result shows this.

export interface Line {
  sign: ' ' | '+' | '-';
  text: string;
}

/** The most edits searched for; beyond, the rest counts as replaced. */
const EDITS_MAX = 1_000;

/** The lines of both texts; unchanged ones far from any change are left out, in place of which stands `…`. */
export function diff(before: string, after: string, context = 3): { lines: Line[]; changes: number } {
  const all = compare(before.split('\n'), after.split('\n'));
  const near = new Uint8Array(all.length);
  let changes = 0;
  all.forEach((line, n) => {
    if (line.sign === ' ') return;
    changes++;
    near.fill(1, Math.max(0, n - context), n + context + 1);
  });
  const lines: Line[] = [];
  all.forEach((line, n) => {
    if (near[n]) lines.push(line);
    else if (n === 0 || near[n - 1]) lines.push({ sign: ' ', text: '…' });
  });
  return { lines, changes };
}

function compare(a: string[], b: string[]): Line[] {
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let ends = 0;
  while (ends < a.length - start && ends < b.length - start && a[a.length - 1 - ends] === b[b.length - 1 - ends]) ends++;
  const same = (text: string): Line => ({ sign: ' ', text });
  return [
    ...a.slice(0, start).map(same),
    ...middle(a.slice(start, a.length - ends), b.slice(start, b.length - ends)),
    ...a.slice(a.length - ends).map(same),
  ];
}

function middle(a: string[], b: string[]): Line[] {
  const replaced = () => [...a.map((text): Line => ({ sign: '-', text })), ...b.map((text): Line => ({ sign: '+', text }))];
  if (!a.length || !b.length) return replaced();
  // For each number of edits, how far each diagonal gets.
  const most = Math.min(a.length + b.length, EDITS_MAX);
  const steps: Int32Array[] = [];
  let far = new Int32Array(2 * most + 3);
  const at = (k: number) => k + most + 1;
  for (let d = 0; d <= most; d++) {
    steps.push(far.slice());
    for (let k = -d; k <= d; k += 2) {
      let x = k === -d || (k !== d && far[at(k - 1)]! < far[at(k + 1)]!) ? far[at(k + 1)]! : far[at(k - 1)]! + 1;
      let y = x - k;
      while (x < a.length && y < b.length && a[x] === b[y]) {
        x++;
        y++;
      }
      far[at(k)] = x;
      if (x >= a.length && y >= b.length) return back(a, b, steps, d, at);
    }
  }
  return replaced();
}

function back(a: string[], b: string[], steps: Int32Array[], edits: number, at: (k: number) => number): Line[] {
  const lines: Line[] = [];
  let [x, y] = [a.length, b.length];
  for (let d = edits; d >= 0; d--) {
    const far = steps[d]!;
    const k = x - y;
    const down = k === -d || (k !== d && far[at(k - 1)]! < far[at(k + 1)]!);
    const before = down ? k + 1 : k - 1;
    const fromX = d === 0 ? 0 : far[at(before)]!;
    const fromY = d === 0 ? 0 : fromX - before;
    while (x > fromX && y > fromY && x > 0 && y > 0 && a[x - 1] === b[y - 1]) {
      lines.push({ sign: ' ', text: a[--x]! });
      y--;
    }
    if (d === 0) break;
    if (down) lines.push({ sign: '+', text: b[--y]! });
    else lines.push({ sign: '-', text: a[--x]! });
  }
  return lines.reverse();
}
