export { CONFLICT_VALUES, type ConflictEntry, type ConflictsAnswer, conflictsAnswerSchema } from './entry';
export { type Explanation, explanationSchema } from './explanation';
export { ConflictJournal } from './journal';
export { conflictRoutes, parseQuery } from './routes';
