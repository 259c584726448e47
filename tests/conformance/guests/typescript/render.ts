// The canonical text of what a guest is given.
import type { Certificate, Endpoint, Request, SocketAddress, Value } from "portreeve";

export function renderRequest(request: Request): string {
  const { principal, connection } = request;
  const { method, fingerprint, certificate } = principal.credential;
  return [
    `id=${quote(request.id)} now=${request.now} action=${request.action}`,
    `target=${renderEndpoint(request.target)} requested=${renderEndpoint(request.requested)}`,
    `address=${option(request.address, quote)} originator=${option(request.originator, renderPeer)}`,
    `user=${quote(principal.user)} groups=${renderTexts(principal.groups)}`,
    `method=${quote(method)} fingerprint=${option(fingerprint, quote)}`,
    `certificate=${option(certificate, renderCertificate)} claims=${renderPairs(principal.claims, renderValue)}`,
    `session=${quote(connection.id)} client=${renderPeer(connection.client)}`,
    `server=${renderPeer(connection.server)} software=${quote(connection.software)}`,
    `since=${connection.since} dry-run=${request.dryRun} extra=${renderPairs(request.extra, renderValue)}`,
  ].join(" ");
}

function renderCertificate(certificate: Certificate): string {
  const head = `key-id=${quote(certificate.keyId)} serial=${certificate.serial} issuer=${quote(certificate.issuer)}`;
  const times = `valid-after=${certificate.validAfter} valid-before=${certificate.validBefore}`;
  const options = `critical-options=${renderPairs(certificate.criticalOptions, quote)}`;
  const extensions = `extensions=${renderPairs(certificate.extensions, quote)}`;
  return `(${head} principals=${renderTexts(certificate.principals)} ${times} ${options} ${extensions})`;
}

function renderEndpoint(endpoint: Endpoint): string {
  if (endpoint.tag === "socket") return `socket(${quote(endpoint.val)})`;
  return `tcp(${quote(endpoint.val.host)},${endpoint.val.port})`;
}

export function renderPeer(peer: SocketAddress): string {
  return `(${quote(peer.ip)},${peer.port})`;
}

export function renderValue(value: Value): string {
  switch (value.tag) {
    case "text":
      return `text(${quote(value.val)})`;
    case "texts":
      return `texts(${renderTexts(value.val)})`;
    default:
      return `${value.tag}(${value.val})`;
  }
}

export function renderTexts(texts: string[]): string {
  return `[${texts.map(quote).join(",")}]`;
}

function renderPairs<T>(pairs: [string, T][], render: (value: T) => string): string {
  return `[${pairs.map(([name, value]) => `${quote(name)}=${render(value)}`).join(",")}]`;
}

export function option<T>(given: T | null, render: (value: T) => string): string {
  return given === null ? "-" : render(given);
}

export function quote(text: string): string {
  return `"${text}"`;
}

/** The length in UTF-8, and FNV-1a of 32 bits. */
export function digest(text: string): string {
  const bytes = utf8(text);
  const hash = bytes.reduce((sum, byte) => Math.imul(sum ^ byte, 0x01000193) >>> 0, 0x811c9dc5);
  return `${bytes.length} bytes, fnv1a ${hash.toString(16).padStart(8, "0")}`;
}

function utf8(text: string): number[] {
  const bytes: number[] = [];
  for (const letter of text) {
    const point = letter.codePointAt(0) ?? 0;
    if (point < 0x80) bytes.push(point);
    else if (point < 0x800) bytes.push(0xc0 | (point >> 6), tail(point));
    else if (point < 0x10000) bytes.push(0xe0 | (point >> 12), tail(point >> 6), tail(point));
    else bytes.push(0xf0 | (point >> 18), tail(point >> 12), tail(point >> 6), tail(point));
  }
  return bytes;
}

function tail(point: number): number {
  return 0x80 | (point & 0x3f);
}
