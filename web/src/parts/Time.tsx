const LOCAL = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  fractionalSecondDigits: 3,
  hour12: false,
});
const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium' });

/** A point in time in the reader's zone, with the day where it is not today; UTC when pointed at. */
export function Time({ at }: { at: string }) {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return <>{at}</>;
  const today = date.toDateString() === new Date().toDateString();
  return (
    <time dateTime={at} title={at.replace('T', ' ').replace('Z', ' UTC')}>
      {today ? LOCAL.format(date) : `${DAY.format(date)} ${LOCAL.format(date)}`}
    </time>
  );
}
