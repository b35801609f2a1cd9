import { QueryCache, QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { Suspense, useMemo, useState } from 'react';
import { Navigate, Route, Routes } from 'react-router-dom';
import { ApiProvider, ProblemError, type Server } from '../api/client';
import { fetchWithToken, token } from '../api/token';
import { Loading } from '../parts/states';
import { Frame } from './Frame';
import { Login } from './Login';
import { Missing } from './Missing';
import { PAGES } from './pages';

const SERVER: Server = { base: '', fetch: fetchWithToken };

/** The whole console, for a page of its own. */
export function App() {
  const [refused, setRefused] = useState(false);
  const queries = useMemo(
    () =>
      new QueryClient({
        queryCache: new QueryCache({ onError: (error) => setRefused((was) => was || isRefused(error)) }),
        defaultOptions: {
          queries: {
            retry: (count, error) => count < 2 && !(error instanceof ProblemError),
            refetchOnWindowFocus: false,
          },
        },
      }),
    [],
  );
  const enter = (value: string) => {
    token.set(value);
    setRefused(false);
    void queries.resetQueries();
  };
  return (
    <ApiProvider server={SERVER}>
      <QueryClientProvider client={queries}>
        {refused ? (
          <Login wrong={token.read() !== null} onEnter={enter} />
        ) : (
          <Routes>
            <Route element={<Frame />}>
              <Route index element={<Navigate to="/traffic" replace />} />
              {PAGES.map(({ path, Page }) => (
                <Route
                  key={path}
                  path={`${path}/*`}
                  element={
                    <Suspense fallback={<Loading />}>
                      <Page />
                    </Suspense>
                  }
                />
              ))}
              <Route path="*" element={<Missing />} />
            </Route>
          </Routes>
        )}
      </QueryClientProvider>
    </ApiProvider>
  );
}

function isRefused(error: Error): boolean {
  return error instanceof ProblemError && error.problem.status === 401;
}
