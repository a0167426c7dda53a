// Signature Version 4, with the browser's cryptography.

export interface Key {
  id: string;
  secret: string;
  region: string;
}

const bytes = (text: string) => new TextEncoder().encode(text);
const hex = (buffer: ArrayBuffer) =>
  [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
const hash = async (text: string) => hex(await crypto.subtle.digest('SHA-256', bytes(text)));

async function mac(key: BufferSource, text: string): Promise<ArrayBuffer> {
  const imported = await crypto.subtle.importKey('raw', key, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
  return crypto.subtle.sign('HMAC', imported, bytes(text));
}

/** The headers that a request needs beside its own. */
export async function sign(key: Key, method: 'GET' | 'POST', address: string, own: Record<string, string>, body: string) {
  const [path, query = ''] = address.split('?');
  const time = new Date().toISOString().replace(/[:-]|\.\d{3}/g, '');
  const day = time.slice(0, 8);
  const scope = `${day}/${key.region}/states/aws4_request`;
  const signed: [string, string][] = [
    ['host', location.host],
    ['x-amz-date', time],
    ['x-amz-target', own['x-amz-target'] ?? ''],
  ];
  const names = signed.map(([name]) => name).join(';');
  const canonical = [
    method,
    path,
    query,
    ...signed.map(([name, value]) => `${name}:${value}`),
    '',
    names,
    await hash(body),
  ].join('\n');
  const text = ['AWS4-HMAC-SHA256', time, scope, await hash(canonical)].join('\n');
  let secret: BufferSource = bytes(`AWS4${key.secret}`);
  for (const part of [day, key.region, 'states', 'aws4_request']) secret = await mac(secret, part);
  const signature = hex(await mac(secret, text));
  return {
    'x-amz-date': time,
    authorization: `AWS4-HMAC-SHA256 Credential=${key.id}/${scope}, SignedHeaders=${names}, Signature=${signature}`,
  };
}
