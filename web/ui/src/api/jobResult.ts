// What came of a job. Only backups make a recovery point; what other kinds come to has another shape.
import type { Schemas } from './client';
import type { Job } from './queries';

export type MadePoint = Extract<NonNullable<Job['result']>, { stored_bytes: number }>;

/** The recovery point that a backup made, with what it cost. */
export function madePoint(job: Job): MadePoint | undefined {
  return job.result && 'stored_bytes' in job.result ? job.result : undefined;
}

/** Whether a backup says where its disks changed. */
export function saysWhereItChanged(job: Job): boolean {
  return (madePoint(job)?.disks?.length ?? 0) > 0;
}

interface KeptResults {
  verify: Schemas['VerifyResult'];
  check: Schemas['CheckResult'];
  prune: Schemas['PruneResult'];
  forget: Schemas['ForgetResult'];
  restore: Schemas['RestoreResult'];
}

/** What came of a keeper's job, under the name of its kind. */
export function keptResult<K extends keyof KeptResults>(job: Job, kind: K): KeptResults[K] | undefined {
  return (job.result as Partial<KeptResults> | null | undefined)?.[kind];
}

/** What a restore was asked for. */
export function restoreWork(job: Job): Schemas['RestoreWork'] | undefined {
  return (job.work as { restore?: Schemas['RestoreWork'] } | null | undefined)?.restore;
}
