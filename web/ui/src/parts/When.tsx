// A time as people think of it, with the exact one behind it.
import { useEffect, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { moment, relative } from '../logic/units';

/** Now, renewed so that "2 minutes ago" does not stay for an hour. */
export function useNow(everyMs = 20_000): Date {
  const [now, setNow] = useState(() => new Date());
  useEffect(() => {
    const timer = setInterval(() => setNow(new Date()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}

export function When({ at, exact }: { at: string | null | undefined; exact?: boolean }) {
  const { t, i18n } = useTranslation();
  const now = useNow();
  if (!at) return <span className="soft">{t('time.never')}</span>;
  const date = new Date(at);
  const full = moment(date, i18n.language);
  return (
    <time dateTime={at} title={full} className="numbers">
      {exact ? full : relative(date, now, i18n.language)}
    </time>
  );
}
