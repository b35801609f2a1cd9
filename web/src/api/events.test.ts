import { expect, test } from 'vitest';
import { events, type ServerEvent } from './events';

async function read(chunks: string[]): Promise<ServerEvent[]> {
  const bytes = new TextEncoder();
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      chunks.forEach((chunk) => controller.enqueue(bytes.encode(chunk)));
      controller.close();
    },
  });
  const all = [];
  for await (const event of events(body)) all.push(event);
  return all;
}

const text = ': hello\nid: 1\nevent: connection\ndata: {"a":\ndata: 1}\n\ndata:é\r\n\r\nevent: cut\ndata: off';
const expected = [
  { id: '1', event: 'connection', data: '{"a":\n1}' },
  { id: '1', event: 'message', data: 'é' },
];

test('events are the same wherever the stream is cut', async () => {
  expect(await read([text])).toEqual(expected);
  for (let at = 1; at < text.length; at++) expect(await read([text.slice(0, at), text.slice(at)])).toEqual(expected);
});
