/** What a stack's config says, as arguments of components. */
export { meshArgs } from './args';
export { localArgs } from './local';
