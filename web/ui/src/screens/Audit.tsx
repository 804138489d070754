// The audit log, and the walk along its chain of hashes.
import { Button, TextInput } from '@mantine/core';
import { useInfiniteQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { api, ask, type Schemas } from '../api/client';
import { asFailure } from '../api/failure';
import { number } from '../logic/units';
import { useAct } from '../parts/act';
import { Commands } from '../parts/Commands';
import { CopyLine } from '../parts/CopyLine';
import { Rows } from '../parts/Rows';
import { Sheet } from '../parts/Screen';
import { State } from '../parts/State';
import { FailureNote, Loading } from '../parts/states';
import { When } from '../parts/When';

export function Audit() {
  const { t } = useTranslation();
  const log = useInfiniteQuery({
    queryKey: ['audit'],
    queryFn: ({ pageParam }) => ask(api.GET('/api/v1/audit', { params: { query: { limit: 100, cursor: pageParam } } })),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
    // Every change is an entry.
    staleTime: 0,
  });
  const items = log.data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <div className="stack">
      <Verify />
      <Sheet title={t('audit.title')} isFlush>
        {log.isPending && <Loading />}
        {log.isError && <FailureNote failure={asFailure(log.error)} again={() => void log.refetch()} />}
        {items.length > 0 && (
          <Rows
            label={t('audit.title')}
            items={items}
            rowKey={(entry) => String(entry.number)}
            columns={[
              { name: t('audit.number'), cell: (entry) => <span className="numbers">{entry.number}</span> },
              { name: t('audit.when'), isTight: true, cell: (entry) => <When at={entry.at} exact /> },
              { name: t('audit.who'), cell: (entry) => entry.actor },
              { name: t('audit.what'), cell: (entry) => <span className="mono">{entry.action}</span> },
              { name: t('audit.detail'), cell: (entry) => entry.detail || <span className="mono faint">{entry.subject}</span> },
              { name: t('audit.from'), cell: (entry) => <span className="mono">{entry.address}</span> },
              { name: t('audit.outcome'), isTight: true, cell: (entry) => <State tone={entry.outcome === 'done' ? 'good' : 'bad'}>{t(`audit.${entry.outcome}`)}</State> },
            ]}
          />
        )}
      </Sheet>
      {log.hasNextPage && (
        <div>
          <Button variant="default" onClick={() => void log.fetchNextPage()} loading={log.isFetchingNextPage}>
            {t('jobs.more')}
          </Button>
        </div>
      )}
    </div>
  );
}

function Verify() {
  const { t, i18n } = useTranslation();
  const [noted, setNoted] = useState('');
  const [verdict, setVerdict] = useState<Schemas['AuditVerdict']>();
  const [head, hash] = noted.trim().split(':');
  const isNoted = /^\d+$/.test(head ?? '') && /^[0-9a-f]{64}$/.test(hash ?? '');
  const body = isNoted ? { noted: { number: Number(head), hash: hash ?? '' } } : {};
  const verify = useAct(async () => setVerdict(await ask(api.POST('/api/v1/audit/verify', { body }))));
  return (
    <Sheet title={t('audit.verifyTitle')}>
      <form
        className="stack"
        onSubmit={(event) => {
          event.preventDefault();
          void verify.run();
        }}
      >
        <p className="soft">{t('audit.verifyMore')}</p>
        <div className="row">
          <TextInput className="grow" aria-label={t('audit.noted')} placeholder={t('audit.notedMore')} value={noted} onChange={(event) => setNoted(event.currentTarget.value)} error={noted.trim() !== '' && !isNoted && t('audit.notedWrong')} />
          <Button type="submit" loading={verify.isBusy} disabled={noted.trim() !== '' && !isNoted}>
            {t('audit.verify')}
          </Button>
          <Commands of={t('audit.verify')} cli="icecore-server admin audit-verify" call={{ method: 'POST', path: '/api/v1/audit/verify', body }} />
        </div>
        {verify.failure && <FailureNote failure={verify.failure} />}
        {verdict && (
          <div className="stack tight" role="status">
            <p className="row tight">
              <State tone={verdict.intact ? 'good' : 'bad'}>{verdict.intact ? t('audit.intact') : t('audit.broken')}</State>
              {t('audit.entries', { count: verdict.entries, text: number(verdict.entries, i18n.language) })}
            </p>
            {verdict.damage && <p style={{ color: 'var(--bad-ink)' }}>{verdict.damage}</p>}
            <p className="faint">{t('audit.head')}</p>
            <CopyLine text={`${verdict.head.number}:${verdict.head.hash}`} label={t('audit.head')} />
          </div>
        )}
      </form>
    </Sheet>
  );
}
