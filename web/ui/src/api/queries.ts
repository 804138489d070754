// Everything the page reads, each under the key by which events mark it as out of date (api/live.ts).
import { keepPreviousData, queryOptions } from '@tanstack/react-query';
import { allPages, api, ask, type Schemas } from './client';

export type Agent = Schemas['Agent'];
export type Alert = Schemas['Alert'];
export type AlertChannel = Schemas['AlertChannel'];
export type Device = Schemas['Device'];
export type Enrolment = Schemas['Enrolment'];
export type Job = Schemas['Job'];
export type JobKind = Schemas['JobKind'];
export type JobState = Schemas['JobState'];
export type Keep = Schemas['Keep'];
export type Plan = Schemas['Plan'];
export type RecoveryPoint = Schemas['RecoveryPoint'];
export type Repository = Schemas['Repository'];
export type Right = Schemas['Right'];
export type Role = Schemas['Role'];
export type Session = Schemas['CurrentSession'];
export type Settings = Schemas['Settings'];
export type Token = Schemas['Token'];
export type User = Schemas['User'];

const PAGE = 500;

export const session = queryOptions({
  queryKey: ['session'],
  queryFn: () => ask(api.GET('/api/v1/session')),
  staleTime: Infinity,
  retry: false,
});

export const agents = queryOptions({
  queryKey: ['agents'],
  queryFn: () => allPages((cursor) => ask(api.GET('/api/v1/agents', { params: { query: { limit: PAGE, cursor } } }))),
});

export const agent = (id: string) =>
  queryOptions({ queryKey: ['agent', id], queryFn: () => ask(api.GET('/api/v1/agents/{id}', { params: { path: { id } } })) });

export const devices = (id: string) =>
  queryOptions({
    queryKey: ['devices', id],
    queryFn: () => ask(api.GET('/api/v1/agents/{id}/devices', { params: { path: { id } } })),
    // Heartbeats tell no event; the time of the last one is shown.
    refetchInterval: 30_000,
  });

export const plans = queryOptions({
  queryKey: ['plans'],
  queryFn: () => allPages((cursor) => ask(api.GET('/api/v1/plans', { params: { query: { limit: PAGE, cursor } } }))),
});

export const plan = (id: string) =>
  queryOptions({ queryKey: ['plan', id], queryFn: () => ask(api.GET('/api/v1/plans/{id}', { params: { path: { id } } })) });

export const retention = (id: string, at: string | undefined) =>
  queryOptions({
    queryKey: ['retention', id, at],
    queryFn: () => ask(api.GET('/api/v1/plans/{id}/retention', { params: { path: { id }, query: { limit: PAGE, at } } })),
    placeholderData: keepPreviousData,
  });

export interface JobFilter {
  plan_id?: string;
  agent_id?: string;
  state?: JobState;
  kind?: JobKind;
  limit?: number;
}

export const jobs = (filter: JobFilter = {}) =>
  queryOptions({
    queryKey: ['jobs', filter],
    queryFn: () => ask(api.GET('/api/v1/jobs', { params: { query: { limit: 50, ...filter } } })),
    placeholderData: keepPreviousData,
  });

export const job = (id: string) =>
  queryOptions({ queryKey: ['job', id], queryFn: () => ask(api.GET('/api/v1/jobs/{id}', { params: { path: { id } } })) });

export const jobLog = (id: string) =>
  queryOptions({
    queryKey: ['jobLog', id],
    queryFn: () =>
      allPages((cursor) => ask(api.GET('/api/v1/jobs/{id}/log', { params: { path: { id }, query: { limit: PAGE, cursor } } }))),
  });

export const days = (zone: string, count = 30) =>
  queryOptions({
    queryKey: ['days', zone, count],
    queryFn: () => ask(api.GET('/api/v1/job-days', { params: { query: { days: count, zone } } })),
    placeholderData: keepPreviousData,
  });

export const repositories = queryOptions({
  queryKey: ['repositories'],
  queryFn: () =>
    allPages((cursor) => ask(api.GET('/api/v1/repositories', { params: { query: { limit: PAGE, cursor } } }))),
});

export interface PointFilter {
  agent_id?: string;
  plan_id?: string;
  repository?: string;
  series?: string;
  forgotten?: boolean;
}

/** The newest ones. */
export const points = (filter: PointFilter, limit: number) =>
  queryOptions({
    queryKey: ['points', 'newest', filter, limit],
    queryFn: () => ask(api.GET('/api/v1/recovery-points', { params: { query: { limit, ...filter } } })),
    placeholderData: keepPreviousData,
  });

export const point = (id: string) =>
  queryOptions({
    queryKey: ['points', 'one', id],
    queryFn: () => ask(api.GET('/api/v1/recovery-points/{id}', { params: { path: { id } } })),
    enabled: id !== '',
  });

export const enrolments = queryOptions({
  queryKey: ['enrolments'],
  queryFn: () => allPages((cursor) => ask(api.GET('/api/v1/enrolments', { params: { query: { limit: PAGE, cursor } } }))),
});

export const alerts = (lasting: boolean) =>
  queryOptions({
    queryKey: ['alerts', lasting],
    queryFn: () => ask(api.GET('/api/v1/alerts', { params: { query: { limit: 100, lasting } } })),
    placeholderData: keepPreviousData,
  });

export const channels = queryOptions({
  queryKey: ['channels'],
  queryFn: () =>
    allPages((cursor) => ask(api.GET('/api/v1/alert-channels', { params: { query: { limit: PAGE, cursor } } }))),
});

export const users = queryOptions({
  queryKey: ['users'],
  queryFn: () => allPages((cursor) => ask(api.GET('/api/v1/users', { params: { query: { limit: PAGE, cursor } } }))),
});

export const tokens = queryOptions({
  queryKey: ['tokens'],
  queryFn: () => allPages((cursor) => ask(api.GET('/api/v1/tokens', { params: { query: { limit: PAGE, cursor } } }))),
});

export const sessions = queryOptions({ queryKey: ['sessions'], queryFn: () => ask(api.GET('/api/v1/sessions')) });

export const settings = queryOptions({ queryKey: ['settings'], queryFn: () => ask(api.GET('/api/v1/settings')) });

export const health = queryOptions({ queryKey: ['health'], queryFn: () => ask(api.GET('/api/v1/health')) });

export const authority = queryOptions({ queryKey: ['authority'], queryFn: () => ask(api.GET('/api/v1/authority')), retry: false });

export const openapi = queryOptions({
  queryKey: ['openapi'],
  queryFn: async () => (await fetch('/api/v1/openapi.json')).json() as Promise<Document>,
  staleTime: Infinity,
});

/** As much of the OpenAPI document as the explorer shows. */
export interface Document {
  info: { version: string };
  paths: Record<string, Record<string, Operation>>;
}

export interface Operation {
  tags?: string[];
  summary?: string;
  description?: string;
  'x-icecore-need'?: string;
  requestBody?: { content?: Record<string, { schema?: { $ref?: string } }> };
  parameters?: { name: string; in: string; required?: boolean; description?: string }[];
}
