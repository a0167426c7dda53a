// What a page shows stands in its address: `#/page/argument?name=value`.

/** A parameter of the address, or nothing. */
export function parameter(name: string): string {
  return new URLSearchParams(location.hash.split('?')[1] ?? '').get(name) ?? '';
}

/** Goes to an address, or only updates the address bar without changing the page. */
export function go(parts: string[], parameters: Record<string, string> = {}, quietly = false) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value)).toString();
  const hash = `#/${parts.map(encodeURIComponent).join('/')}${query && `?${query}`}`;
  if (hash === location.hash) return;
  if (quietly) history.replaceState(null, '', hash);
  else location.hash = hash;
}
