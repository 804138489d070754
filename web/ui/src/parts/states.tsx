// What a screen shows when it has no data to show: not yet, none, not at all.
import { Button } from '@mantine/core';
import { IconCloudOff, IconAlertTriangle } from '@tabler/icons-react';
import type { UseQueryResult } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import { asFailure, OFFLINE, type Failure } from '../api/failure';
import classes from './states.module.css';

/** Layers that settle. Appears only when it takes long enough to be noticed. */
export function Loading({ lines = 3 }: { lines?: number }) {
  const { t } = useTranslation();
  return (
    <div className={classes.loading} role="status" aria-label={t('state.loading')}>
      {Array.from({ length: lines }, (_, at) => (
        <span key={at} className={classes.layer} />
      ))}
    </div>
  );
}

interface EmptyProps {
  title: string;
  children?: ReactNode;
  action?: ReactNode;
}

export function Empty({ title, children, action }: EmptyProps) {
  return (
    <div className={classes.empty}>
      <span className={classes.core} aria-hidden="true" />
      <p className={classes.title}>{title}</p>
      {children && <p className="soft">{children}</p>}
      {action && <div className="row">{action}</div>}
    </div>
  );
}

interface FailureNoteProps {
  failure: Failure;
  again?: () => void;
  /** Whether it stands alone on the page. */
  isWhole?: boolean;
}

/** What could not be done, why, what to do next: the server's words. */
export function FailureNote({ failure, again, isWhole }: FailureNoteProps) {
  const { t } = useTranslation();
  const isOffline = failure.code === OFFLINE;
  const note = (
    <div className={classes.failure} role="alert">
      {isOffline ? <IconCloudOff size={20} /> : <IconAlertTriangle size={20} />}
      <div className="grow stack tight">
        <p className={classes.title}>{isOffline ? t('state.offline') : sentence(failure.what)}</p>
        {isOffline ? <p className="soft">{t('state.offlineNext')}</p> : null}
        {failure.why && <p className="soft">{sentence(failure.why)}</p>}
        {failure.next && <p>{sentence(failure.next)}</p>}
        {failure.requestId && failure.status >= 500 && (
          <p className="faint">
            {t('state.requestId')} <span className="mono">{failure.requestId}</span>
          </p>
        )}
        {again && (
          <div>
            <Button size="xs" variant="default" onClick={again}>
              {t('state.again')}
            </Button>
          </div>
        )}
      </div>
    </div>
  );
  return isWhole ? <main className={classes.whole}>{note}</main> : note;
}

/** The server's texts begin small, for command lines. */
export function sentence(text: string): string {
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…`]$/.test(first) ? first : `${first}.`;
}

interface ReadProps<T> {
  query: UseQueryResult<T>;
  children: (data: T) => ReactNode;
  lines?: number;
}

/** Shows a query's data, or why there is none. What is there stays on the screen when asking again fails. */
export function Read<T>({ query, children, lines }: ReadProps<T>) {
  if (query.data !== undefined) return <>{children(query.data)}</>;
  if (query.isError) return <FailureNote failure={asFailure(query.error)} again={() => void query.refetch()} />;
  return <Loading lines={lines} />;
}
