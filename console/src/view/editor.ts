// The text editor: CodeMirror, with the problems that the server found.

import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap } from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap, indentWithTab } from '@codemirror/commands';
import { json } from '@codemirror/lang-json';
import { yaml } from '@codemirror/lang-yaml';
import { bracketMatching, foldGutter, foldKeymap, HighlightStyle, indentOnInput, syntaxHighlighting } from '@codemirror/language';
import { lintGutter, lintKeymap, setDiagnostics } from '@codemirror/lint';
import { highlightSelectionMatches, searchKeymap } from '@codemirror/search';
import { Compartment, EditorState } from '@codemirror/state';
import { drawSelection, EditorView, highlightActiveLine, highlightSpecialChars, keymap, lineNumbers } from '@codemirror/view';
import { tags } from '@lezer/highlight';
import type { Format, Problem } from '../backend/types';
import { complete, type Known } from './complete';

const style = HighlightStyle.define([
  { tag: [tags.propertyName, tags.definition(tags.propertyName)], color: 'var(--code-name)' },
  { tag: tags.string, color: 'var(--code-string)' },
  { tag: [tags.number, tags.bool, tags.null], color: 'var(--code-number)' },
  { tag: tags.comment, color: 'var(--quiet)', fontStyle: 'italic' },
]);

export class Editor {
  private readonly language = new Compartment();
  readonly view: EditorView;

  constructor(parent: HTMLElement, label: string, text: string, format: Format, changed: (text: string) => void, moved: (at: number) => void, known: () => Known) {
    this.view = new EditorView({
      parent,
      state: EditorState.create({
        doc: text,
        extensions: [
          lineNumbers(),
          // Characters that are invisible, or change the direction of what follows, are shown as such.
          highlightSpecialChars(),
          foldGutter(),
          lintGutter(),
          history(),
          drawSelection(),
          indentOnInput(),
          bracketMatching(),
          closeBrackets(),
          autocompletion({ override: [(context) => complete(context, known())], activateOnTypingDelay: 60 }),
          highlightActiveLine(),
          highlightSelectionMatches(),
          syntaxHighlighting(style),
          this.language.of(format === 'yaml' ? yaml() : json()),
          EditorState.tabSize.of(2),
          // Escape, then Tab, leaves the editor.
          keymap.of([...completionKeymap, ...closeBracketsKeymap, ...defaultKeymap, ...searchKeymap, ...historyKeymap, ...foldKeymap, ...lintKeymap, indentWithTab]),
          EditorView.contentAttributes.of({ 'aria-label': label }),
          EditorView.updateListener.of((update) => {
            if (update.docChanged) changed(update.state.doc.toString());
            else if (update.selectionSet) moved(update.state.selection.main.head);
          }),
        ],
      }),
    });
    this.view.scrollDOM.tabIndex = 0;
    this.view.scrollDOM.setAttribute('role', 'group');
    this.view.scrollDOM.setAttribute('aria-label', `${label}, scrolled`);
  }

  get text() {
    return this.view.state.doc.toString();
  }

  replace(text: string, format: Format) {
    this.view.dispatch({
      changes: { from: 0, to: this.view.state.doc.length, insert: text },
      effects: this.language.reconfigure(format === 'yaml' ? yaml() : json()),
    });
  }

  problems(problems: Problem[]) {
    const end = this.view.state.doc.length;
    const diagnostics = problems.map((it) => ({
      from: Math.min(it.from, end),
      to: Math.min(Math.max(it.to, it.from), end),
      severity: it.severity === 'ERROR' ? ('error' as const) : ('warning' as const),
      message: `${it.message}${it.suggestion ? `\n${it.suggestion}` : ''}`,
      source: it.code,
      actions: it.fix ? [{ name: 'Fix', apply: () => this.apply([it.fix!]) }] : [],
    }));
    this.view.dispatch(setDiagnostics(this.view.state, diagnostics.sort((a, b) => a.from - b.from)));
  }

  /** Changes that are one step of undo. */
  apply(patches: { from: number; to: number; insert: string }[]) {
    this.view.dispatch({ changes: patches, userEvent: 'input.patch' });
  }

  reveal(from: number, to: number, focus = false) {
    const end = this.view.state.doc.length;
    const [a, b] = [Math.min(from, end), Math.min(to, end)];
    this.view.dispatch({ selection: { anchor: a, head: b }, effects: EditorView.scrollIntoView(a, { y: 'center' }) });
    if (focus) this.view.focus();
  }

  destroy() {
    this.view.destroy();
  }
}
