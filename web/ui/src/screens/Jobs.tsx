// Jobs, the latest first; which ones is in the URL.
import { Button, Select } from '@mantine/core';
import { keepPreviousData, useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { useTranslation } from 'react-i18next';
import { useSearchParams } from 'react-router';
import { api, ask } from '../api/client';
import { asFailure } from '../api/failure';
import { agents as agentsQuery, plans as plansQuery, type JobKind, type JobState } from '../api/queries';
import { Commands } from '../parts/Commands';
import { JobRows } from '../parts/JobRows';
import { Screen, Sheet } from '../parts/Screen';
import { Empty, FailureNote, Loading } from '../parts/states';

const KINDS: JobKind[] = ['backup', 'restore', 'verify', 'check', 'prune', 'forget', 'copy'];
const STATES: JobState[] = ['queued', 'running', 'succeeded', 'failed', 'cancelled'];

export default function Jobs() {
  const { t } = useTranslation();
  const [search, setSearch] = useSearchParams();
  const [agents, plans] = [useQuery(agentsQuery), useQuery(plansQuery)];
  const asked = { state: search.get('state') ?? undefined, agent_id: search.get('machine') ?? undefined, plan_id: search.get('plan') ?? undefined };
  const filter = { ...asked, state: STATES.find((state) => state === asked.state), kind: KINDS.find((kind) => kind === search.get('kind')) };
  const jobs = useInfiniteQuery({
    queryKey: ['jobs', 'all', filter],
    queryFn: ({ pageParam }) => ask(api.GET('/api/v1/jobs', { params: { query: { limit: 50, cursor: pageParam, ...filter } } })),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next_cursor ?? undefined,
    placeholderData: keepPreviousData,
  });
  const set = (name: string) => (value: string | null) =>
    setSearch((now) => {
      if (value) now.set(name, value);
      else now.delete(name);
      return now;
    });
  const items = jobs.data?.pages.flatMap((page) => page.items) ?? [];
  const query = new URLSearchParams(Object.entries(filter).filter((pair): pair is [string, string] => Boolean(pair[1]))).toString();
  return (
    <Screen title={t('jobs.title')} lead={t('jobs.lead')} actions={<Commands of={t('jobs.title')} call={{ method: 'GET', path: `/api/v1/jobs${query ? `?${query}` : ''}` }} />}>
      <div className="row">
        <Select aria-label={t('machines.state')} placeholder={t('jobs.anyState')} clearable data={STATES.map((value) => ({ value, label: t(`jobState.${value}`) }))} value={filter.state ?? null} onChange={set('state')} w={180} />
        <Select aria-label={t('jobs.kind')} placeholder={t('jobs.anyKind')} clearable data={KINDS.map((value) => ({ value, label: t(`jobKind.${value}`) }))} value={filter.kind ?? null} onChange={set('kind')} w={180} />
        <Select aria-label={t('machines.machine')} placeholder={t('jobs.anyMachine')} clearable searchable data={(agents.data ?? []).map((agent) => ({ value: agent.id, label: agent.name }))} value={filter.agent_id ?? null} onChange={set('machine')} w={200} />
        <Select aria-label={t('plans.plan')} placeholder={t('jobs.anyPlan')} clearable searchable data={(plans.data ?? []).map((plan) => ({ value: plan.id, label: plan.name }))} value={filter.plan_id ?? null} onChange={set('plan')} w={200} />
      </div>
      <Sheet isFlush={items.length > 0}>
        {jobs.isPending && <Loading />}
        {jobs.isError && <FailureNote failure={asFailure(jobs.error)} again={() => void jobs.refetch()} />}
        {jobs.isSuccess && items.length === 0 && <Empty title={t('jobs.none')}>{t('jobs.noneMore')}</Empty>}
        {items.length > 0 && <JobRows jobs={items} />}
      </Sheet>
      {jobs.hasNextPage && (
        <div>
          <Button variant="default" onClick={() => void jobs.fetchNextPage()} loading={jobs.isFetchingNextPage}>
            {t('jobs.more')}
          </Button>
        </div>
      )}
    </Screen>
  );
}
