const KEY = 'netverdict.token';

/** The bearer token of this tab. It goes with the tab. */
export const token = {
  read: () => sessionStorage.getItem(KEY),
  set: (value: string) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

/** Sends requests with the token, if there is one. */
export const fetchWithToken: typeof fetch = (input, init) => {
  const request = new Request(input, init);
  const value = token.read();
  if (value) request.headers.set('Authorization', `Bearer ${value}`);
  return fetch(request);
};
