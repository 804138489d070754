// Everything that can be restored, the newest first; which ones is in the URL.
import { Select, Switch } from '@mantine/core';
import { keepPreviousData, useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { useCallback } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, useSearchParams } from 'react-router';
import { api, ask } from '../api/client';
import { asFailure } from '../api/failure';
import { agents as agentsQuery, plans as plansQuery, repositories as repositoriesQuery } from '../api/queries';
import { bytes, number } from '../logic/units';
import { Commands } from '../parts/Commands';
import { LongRows } from '../parts/LongRows';
import { PointLink } from '../parts/PointLink';
import { PointStateWord } from '../parts/PointState';
import { Screen, Sheet } from '../parts/Screen';
import { Empty, FailureNote, Loading } from '../parts/states';
import { When } from '../parts/When';

const PAGE = 200;

export default function Points() {
  const { t, i18n } = useTranslation();
  const [search, setSearch] = useSearchParams();
  const [agents, plans, repositories] = [useQuery(agentsQuery), useQuery(plansQuery), useQuery(repositoriesQuery)];
  const filter = {
    agent_id: search.get('machine') ?? undefined,
    plan_id: search.get('plan') ?? undefined,
    repository: search.get('repository') ?? undefined,
    series: search.get('series') ?? undefined,
    forgotten: search.has('forgotten') || undefined,
  };
  const found = useInfiniteQuery({
    queryKey: ['points', 'all', filter],
    queryFn: ({ pageParam }) => ask(api.GET('/api/v1/recovery-points', { params: { query: { limit: PAGE, cursor: pageParam, ...filter } } })),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
    placeholderData: keepPreviousData,
  });
  const set = (name: string) => (value: string | null) =>
    setSearch((now) => {
      if (value === null) now.delete(name);
      else now.set(name, value);
      return now;
    });
  const { fetchNextPage, hasNextPage, isFetchingNextPage } = found;
  const more = useCallback(() => {
    if (hasNextPage && !isFetchingNextPage) void fetchNextPage();
  }, [fetchNextPage, hasNextPage, isFetchingNextPage]);
  const items = found.data?.pages.flatMap((page) => page.items) ?? [];
  const query = new URLSearchParams(Object.entries(filter).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]]))).toString();
  const isFiltered = query !== '';
  const size = (count: number | null | undefined) => (count === null || count === undefined ? '–' : bytes(count, i18n.language));
  return (
    <Screen title={t('points.title')} lead={t('points.lead')} actions={<Commands of={t('points.title')} cli="icecore list" call={{ method: 'GET', path: `/api/v1/recovery-points${query ? `?${query}` : ''}` }} />}>
      <div className="row">
        <Select aria-label={t('machines.machine')} placeholder={t('jobs.anyMachine')} clearable searchable data={(agents.data ?? []).map((agent) => ({ value: agent.id, label: agent.name }))} value={filter.agent_id ?? null} onChange={set('machine')} w={200} />
        <Select aria-label={t('plans.plan')} placeholder={t('jobs.anyPlan')} clearable searchable data={(plans.data ?? []).map((plan) => ({ value: plan.id, label: plan.name }))} value={filter.plan_id ?? null} onChange={set('plan')} w={200} />
        {(repositories.data?.length ?? 0) > 1 && (
          <Select aria-label={t('machines.repository')} placeholder={t('points.anyRepository')} clearable data={(repositories.data ?? []).map((one) => one.name)} value={filter.repository ?? null} onChange={set('repository')} w={200} />
        )}
        <Switch label={t('points.withForgotten')} checked={filter.forgotten ?? false} onChange={(event) => set('forgotten')(event.currentTarget.checked ? '' : null)} />
        {filter.series && <Link to="/points">{t('points.anySeries')}</Link>}
      </div>
      <Sheet isFlush={items.length > 0}>
        {found.isPending && <Loading />}
        {found.isError && <FailureNote failure={asFailure(found.error)} again={() => void found.refetch()} />}
        {found.isSuccess && items.length === 0 && <Empty title={t('points.none')}>{isFiltered ? t('jobs.noneMore') : t('plan.noPointsMore')}</Empty>}
        {items.length > 0 && (
          <LongRows
            label={t('points.title')}
            items={items}
            rowKey={(point) => `${point.repository} ${point.id}`}
            hasMore={hasNextPage}
            loadMore={more}
            columns={[
              { name: t('plan.point'), track: '1.6fr', cell: (point) => <PointLink point={point} /> },
              { name: t('machines.machine'), track: '1fr', cell: (point) => point.agent ?? point.host ?? '–' },
              { name: t('plan.received'), track: '1.1fr', cell: (point) => <When at={point.received_at} exact /> },
              { name: t('points.state'), track: '1fr', isMark: true, cell: (point) => <PointStateWord point={point} /> },
              { name: t('points.kind'), track: '0.9fr', isWideOnly: true, cell: (point) => (point.kind ? t(`pointKind.${point.kind}`, { defaultValue: point.kind }) : '–') },
              { name: t('points.size'), track: '0.7fr', isNumber: true, isWideOnly: true, cell: (point) => size(point.source_bytes) },
              { name: t('points.added'), track: '0.7fr', isNumber: true, isWideOnly: true, cell: (point) => size(point.stored_bytes) },
            ]}
          />
        )}
      </Sheet>
      {items.length > 0 && <p className="faint" role="status">{hasNextPage ? t('points.countMore', { text: number(items.length, i18n.language) }) : t('points.count', { count: items.length, text: number(items.length, i18n.language) })}</p>}
    </Screen>
  );
}
