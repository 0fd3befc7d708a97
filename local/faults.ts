import { z } from 'zod';

import { LocalError } from './errors';
import { type LinkProxy } from './proxy';
import { type Service } from './service';

/** What a person asks for with `meridian fault`, as it goes to the supervisor. */
export const faultSchema = z.discriminatedUnion('action', [
  /** Without `b`: from all others. */
  z.object({ action: z.literal('partition'), a: z.string(), b: z.string().optional() }),
  /** Each way; 0 takes it away. */
  z.object({ action: z.literal('delay'), a: z.string(), b: z.string(), ms: z.number().int().min(0).max(600_000) }),
  z.object({ action: z.literal('kill'), region: z.string(), what: z.enum(['agent', 'redis']) }),
  /** Without `what`: both. */
  z.object({ action: z.literal('pause'), region: z.string(), what: z.enum(['agent', 'redis']).optional() }),
  z.object({ action: z.literal('heal') }),
]);
export type FaultRequest = z.output<typeof faultSchema>;

/** What is broken at the moment. A kill is none: the supervisor starts again what was killed. */
export const activeFaultSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('partition'), between: z.tuple([z.string(), z.string()]) }),
  z.object({ kind: z.literal('delay'), between: z.tuple([z.string(), z.string()]), ms: z.number() }),
  z.object({ kind: z.literal('pause'), service: z.string() }),
]);
export type ActiveFault = z.output<typeof activeFaultSchema>;

/** One line for a person. */
export function describeFault(fault: ActiveFault): string {
  switch (fault.kind) {
    case 'partition':
      return `${fault.between.join(' and ')} are cut off from each other`;
    case 'delay':
      return `${fault.between.join(' and ')} are ${fault.ms} ms further apart, each way`;
    case 'pause':
      return `${fault.service} is paused`;
  }
}

/** Breaks and heals a running stack: its links by their proxies, its processes by signals. */
export class Faults {
  constructor(
    private readonly regions: readonly string[],
    private readonly proxies: readonly LinkProxy[],
    private readonly services: ReadonlyMap<string, Service>,
  ) {}

  active(): ActiveFault[] {
    const found: ActiveFault[] = [];
    this.regions.forEach((a, i) => {
      for (const b of this.regions.slice(i + 1)) {
        // Both directions always break together.
        const fault = this.between(a, b)[0]?.fault;
        if (fault?.cut) found.push({ kind: 'partition', between: [a, b] });
        else if (fault !== undefined && fault.delayMs > 0)
          found.push({ kind: 'delay', between: [a, b], ms: fault.delayMs });
      }
    });
    for (const service of this.services.values()) {
      if (service.isPaused) found.push({ kind: 'pause', service: service.spec.name });
    }
    return found;
  }

  /** @returns what was done, one line. @throws LocalError UNKNOWN_REGION, BAD_ARGUMENT or NOT_RUNNING */
  apply(request: FaultRequest): string {
    switch (request.action) {
      case 'partition':
        return this.partition(request.a, request.b);
      case 'delay': {
        for (const proxy of this.linked(request.a, request.b)) proxy.set({ delayMs: request.ms });
        return request.ms === 0
          ? `${request.a} and ${request.b} are as near as before`
          : `${request.a} and ${request.b} are now ${request.ms} ms apart, each way`;
      }
      case 'kill': {
        const service = this.serviceOf(request.region, request.what);
        if (!service.kill()) throw notRunning(service);
        return `${service.spec.name} was killed; the supervisor starts it again`;
      }
      case 'pause': {
        const all = request.what === undefined ? (['agent', 'redis'] as const) : [request.what];
        const services = all.flatMap((what) =>
          request.what === undefined && !this.services.has(`${request.region}/${what}`)
            ? []
            : [this.serviceOf(request.region, what)],
        );
        this.check(request.region);
        for (const service of services) if (!service.pause(true)) throw notRunning(service);
        return `paused ${services.map((service) => service.spec.name).join(' and ')}; \`meridian fault heal\` lets it go on`;
      }
      case 'heal': {
        const before = this.active();
        for (const proxy of this.proxies) proxy.set({ cut: false, delayMs: 0 });
        for (const service of this.services.values()) if (service.isPaused) service.pause(false);
        return before.length === 0 ? 'nothing was broken' : `healed; it was: ${before.map(describeFault).join('; ')}`;
      }
    }
  }

  private partition(a: string, b: string | undefined): string {
    this.check(a);
    const others = b === undefined ? this.regions.filter((region) => region !== a) : [b];
    const links = others.flatMap((other) => (b === undefined ? this.between(a, other) : this.linked(a, other)));
    for (const proxy of links) proxy.set({ cut: true });
    return `${a} is cut off from ${others.join(', ')}`;
  }

  private linked(a: string, b: string): LinkProxy[] {
    this.check(a);
    this.check(b);
    if (a === b) throw new LocalError('BAD_ARGUMENT', `There is no link from ${a} to itself: name two regions.`);
    const links = this.between(a, b);
    if (links.length > 0) return links;
    throw new LocalError(
      'BAD_ARGUMENT',
      `${a} and ${b} have no direct link in this topology: break the links to their neighbours.`,
    );
  }

  private between(a: string, b: string): LinkProxy[] {
    return this.proxies.filter(({ from, to }) => (from === a && to === b) || (from === b && to === a));
  }

  private serviceOf(region: string, what: 'agent' | 'redis'): Service {
    this.check(region);
    const service = this.services.get(`${region}/${what}`);
    if (service === undefined)
      throw new LocalError('BAD_ARGUMENT', `${region} has no ${what} that was started by \`meridian up\`.`);
    return service;
  }

  private check(region: string): void {
    checkRegion(region, this.regions);
  }
}

/** @throws LocalError UNKNOWN_REGION */
export function checkRegion(region: string, regions: readonly string[]): void {
  if (regions.includes(region)) return;
  throw new LocalError('UNKNOWN_REGION', `There is no region '${region}' in this stack: it has ${regions.join(', ')}.`);
}

function notRunning(service: Service): LocalError {
  return new LocalError('NOT_RUNNING', `${service.spec.name} does not run at the moment: try again when it is back.`);
}
