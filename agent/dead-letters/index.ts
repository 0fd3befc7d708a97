export { DeadLetters, type Refused } from './letters';
export { letterRoutes } from './routes';
