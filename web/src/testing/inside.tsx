import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { render } from '@testing-library/react';
import type { ReactNode } from 'react';
import { MemoryRouter, useLocation } from 'react-router-dom';
import { ApiProvider } from '../api/client';

/** Answers by the path behind `/api/v1/`, from what stands behind `?`. */
export type Answers = Record<string, (params: URLSearchParams) => unknown>;

/** Shows something as it stands in the console, at an address; what the address has become is in `search`. */
export function inside(children: ReactNode, { at = '/', answers = {} }: { at?: string; answers?: Answers } = {}) {
  const fetch = (input: RequestInfo | URL) => {
    const url = new URL(input instanceof Request ? input.url : String(input));
    const answer = answers[url.pathname.replace('/api/v1/', '')]?.(url.searchParams);
    return Promise.resolve(
      Response.json(answer ?? { title: 'not found', status: 404 }, { status: answer ? 200 : 404 }),
    );
  };
  let now = '';
  const Address = () => {
    now = useLocation().search;
    return null;
  };
  const queries = new QueryClient({ defaultOptions: { queries: { retry: false } } });
  const shown = render(
    <ApiProvider server={{ base: 'http://x', fetch }}>
      <QueryClientProvider client={queries}>
        <MemoryRouter initialEntries={[at]}>
          {children}
          <Address />
        </MemoryRouter>
      </QueryClientProvider>
    </ApiProvider>,
  );
  return { ...shown, search: () => new URLSearchParams(now) };
}
