import createClient, { type Client } from 'openapi-fetch';
import { createContext, useContext, useMemo, type ReactNode } from 'react';
import type { components, paths } from './schema';

export type Schemas = components['schemas'];
export type Connection = Schemas['Connection'];
export type Verdict = Connection['verdict'];
/** One end of a connection. */
export type End = Connection['src'];
/** What one direction's policies said of it. */
export type Half = NonNullable<Connection['ingress']>;
/** Whose ACL it was. */
export type Owner = NonNullable<Half['owner']>;
/** What was counted under one probability of sampling. */
export type Counts = Connection['counts'][number];
/** Packets and bytes as they were seen. */
export type Tally = Counts['original'];

/** What the server says of a question that it cannot answer (RFC 9457). */
export class ProblemError extends Error {
  constructor(readonly problem: Schemas['Problem']) {
    super(problem.detail || problem.title);
  }
}

/** How a host application reaches a netverdict server. */
export interface Server {
  /** Where it answers, without a slash at the end; empty for the host that gave the page. */
  base: string;
  /** Sends requests; a console that embeds these components gives its own, which authenticates. */
  fetch: typeof globalThis.fetch;
}

interface Api {
  server: Server;
  client: Client<paths>;
}

const Context = createContext<Api | null>(null);

/** Lets everything inside ask one server. */
export function ApiProvider({ server, children }: { server: Server; children: ReactNode }) {
  const api = useMemo(
    () => ({
      server,
      client: createClient<paths>({ baseUrl: server.base, fetch: (request) => server.fetch(request) }),
    }),
    [server],
  );
  return <Context.Provider value={api}>{children}</Context.Provider>;
}

/** The server and its typed client. */
export function useApi(): Api {
  const api = useContext(Context);
  if (!api) throw new Error('ApiProvider is missing');
  return api;
}

/** The data of an answer, or its problem thrown. */
export async function data<T>(answer: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  const { data, error, response } = await answer;
  if (data !== undefined) return data;
  throw new ProblemError(asProblem(error, response));
}

/** What an answer says went wrong, where it does not come from netverdict too. */
export function asProblem(error: unknown, response: Response): Schemas['Problem'] {
  if (typeof error === 'object' && error && 'title' in error) return error as Schemas['Problem'];
  return {
    type: 'about:blank',
    title: response.statusText || `HTTP ${response.status}`,
    detail: '',
    status: response.status,
  };
}
