/** The arguments of a command where they stand. */

/** A command's arguments as byte ranges: the scanner that found it, or anything alike. */
export interface Args {
  readonly buf: Buffer;
  readonly argc: number;
  readonly argStart: Int32Array;
  readonly argEnd: Int32Array;
}

export function argText(args: Args, i: number): string {
  return args.buf.toString('latin1', args.argStart[i], args.argEnd[i]);
}
