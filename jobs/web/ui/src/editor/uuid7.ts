// Ids that browsers make: UUIDs of version 7 (RFC 9562), which sort by when they were made.

let [lastAt, counter] = [0, 0];

export function uuid7(now = Date.now(), random = crypto.getRandomValues(new Uint8Array(10))): string {
  // Those of one millisecond, and those after a clock was set back, still sort in the order in which they were made.
  if (now > lastAt) [lastAt, counter] = [now, 0];
  else if ((counter += 1) > 0xfff) [lastAt, counter] = [lastAt + 1, 0];
  const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');
  const time = hex(lastAt, 12);
  const tail = [...random].map((byte) => hex(byte, 2)).join('');
  const variant = hex(0x8 | ((random[0] as number) & 0x3), 1);
  return `${time.slice(0, 8)}-${time.slice(8)}-7${hex(counter, 3)}-${variant}${tail.slice(1, 4)}-${tail.slice(4, 16)}`;
}
