/** Vectors of positions per origin, and their one text form (in Redis' cursor, in meta files, in /status). */
import type { OriginId, Vector } from './record';

export function positionIn(vector: Vector, origin: OriginId): number {
  return vector.get(origin) ?? -1;
}

/** Whether `a` has seen everything that `b` has. */
export function covers(a: Vector, b: Vector): boolean {
  for (const [origin, position] of b) if (positionIn(a, origin) < position) return false;
  return true;
}

/** Raises `into` to the maximum of itself and `other`, origin by origin. */
export function raise(into: Map<OriginId, number>, other: Vector): void {
  for (const [origin, position] of other) if (positionIn(into, origin) < position) into.set(origin, position);
}

/** `origin=position` pairs joined by commas. */
export function formatVector(vector: Vector): string {
  const parts: string[] = [];
  for (const [origin, position] of vector) parts.push(`${origin}=${position}`);
  return parts.join(',');
}

/** @returns null when the text is not a vector */
export function parseVector(text: string): Map<OriginId, number> | null {
  const vector = new Map<OriginId, number>();
  if (text === '') return vector;
  for (const part of text.split(',')) {
    const at = part.lastIndexOf('=');
    const position = Number(part.slice(at + 1));
    if (at <= 0 || at === part.length - 1 || !Number.isFinite(position) || position < 0) return null;
    vector.set(part.slice(0, at), position);
  }
  return vector;
}
