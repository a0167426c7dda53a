/** What would be lost if the page that is shown were left, as a sentence; empty if nothing would be. */
export const leaving = { changes: () => '' };
