// A job's log as its agent wrote it; while the job runs it follows, unless somebody scrolled up to read.
import { TextInput } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useEffect, useRef, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { jobLog } from '../api/queries';
import classes from './JobLog.module.css';
import { Sheet } from './Screen';
import { Read } from './states';

const FOLLOW_MS = 2000;

export function JobLog({ id, isLive }: { id: string; isLive: boolean }) {
  const { t, i18n } = useTranslation();
  const [wanted, setWanted] = useState('');
  const log = useQuery({ ...jobLog(id), refetchInterval: isLive ? FOLLOW_MS : false });
  const box = useRef<HTMLDivElement>(null);
  const follows = useRef(true);
  const count = log.data?.length ?? 0;
  useEffect(() => {
    if (box.current && follows.current && isLive) box.current.scrollTop = box.current.scrollHeight;
  }, [count, isLive]);
  const clock = new Intl.DateTimeFormat(i18n.language, { timeStyle: 'medium' });
  return (
    <Sheet
      title={t('job.log')}
      isFlush
      actions={count > 20 && <TextInput size="xs" aria-label={t('job.search')} placeholder={t('job.search')} value={wanted} onChange={(event) => setWanted(event.currentTarget.value)} />}
    >
      <Read query={log}>
        {(lines) => {
          const shown = wanted ? lines.filter((line) => line.text.toLowerCase().includes(wanted.toLowerCase())) : lines;
          if (lines.length === 0) return <p className={`soft ${classes.none}`}>{t('job.noLog')}</p>;
          return (
            <div
              ref={box}
              className={classes.log}
              tabIndex={0}
              role="log"
              aria-label={t('job.log')}
              aria-live="off"
              onScroll={(event) => {
                const element = event.currentTarget;
                follows.current = element.scrollHeight - element.scrollTop - element.clientHeight < 24;
              }}
            >
              <table>
                <tbody>
                  {shown.map((line) => (
                    <tr key={`${line.attempt}.${line.number}`}>
                      <td className={classes.time}>{clock.format(new Date(line.at))}</td>
                      {line.attempt > 1 && <td className={classes.time}>{line.attempt}</td>}
                      <td className={classes.text} colSpan={line.attempt > 1 ? 1 : 2}>
                        {line.text}
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          );
        }}
      </Read>
    </Sheet>
  );
}
