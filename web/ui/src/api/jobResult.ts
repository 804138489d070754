// What came of a job. Only backups make a recovery point; what other kinds come to has another shape.
import type { Job } from './queries';

export type MadePoint = Extract<NonNullable<Job['result']>, { stored_bytes: number }>;

/** The recovery point that a backup made, with what it cost. */
export function madePoint(job: Job): MadePoint | undefined {
  return job.result && 'stored_bytes' in job.result ? job.result : undefined;
}
