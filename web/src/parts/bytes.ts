const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** How many bytes of UTF-8 the first `at` units of a text take: the server counts queries in bytes. */
export const toBytes = (text: string, at: number) => encoder.encode(text.slice(0, at)).length;

/** The reverse of `toBytes`. */
export const fromBytes = (text: string, bytes: number) =>
  decoder.decode(encoder.encode(text).subarray(0, bytes)).length;
