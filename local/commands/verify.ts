import { LocalError } from '../errors';
import { type CommonOptions } from './common';

export async function verify(_options: CommonOptions): Promise<void> {
  throw new LocalError('COULD_NOT_COMPARE', 'verify is not here yet', 2);
}
