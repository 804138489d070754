// What each backup read and stored, over time. uPlot draws on a canvas; the numbers themselves stand in the list of jobs.
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import './Growth.css';
import { useEffect, useRef } from 'react';
import { useTranslation } from 'react-i18next';
import { useMantineColorScheme } from '@mantine/core';
import { madePoint } from '../api/jobResult';
import type { Job } from '../api/queries';
import { bytes } from '../logic/units';

const HEIGHT = 190;
/** Steps of the axis of sizes, so that it shows 4 GiB and not 4.66. */
const BINARY = Array.from({ length: 60 }, (_, power) => 2 ** power);

export default function Growth({ jobs }: { jobs: Job[] }) {
  const { t, i18n } = useTranslation();
  const { colorScheme } = useMantineColorScheme();
  const place = useRef<HTMLDivElement>(null);
  const done = jobs.filter((job) => madePoint(job) && job.ended_at).sort((a, b) => (a.ended_at ?? '').localeCompare(b.ended_at ?? ''));
  const key = done.map((job) => job.id).join();
  useEffect(() => {
    const element = place.current;
    if (!element) return undefined;
    const colour = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const size = (_: unknown, values: number[]) => values.map((value) => bytes(value, i18n.language));
    const axis = { stroke: colour('--ink-faint'), grid: { stroke: colour('--line'), width: 1 }, ticks: { show: false }, font: '12px Inter Variable' };
    const clock = new Intl.DateTimeFormat(i18n.language, { hour: '2-digit', minute: '2-digit' });
    const date = new Intl.DateTimeFormat(i18n.language, { day: 'numeric', month: 'short' });
    const times = (_: unknown, splits: number[], _axis: number, _space: number, step: number) =>
      splits.map((at) => (step >= 86_400 ? date : clock).format(new Date(1000 * at)));
    const bars = uPlot.paths.bars?.({ size: [0.7, 26, 2] });
    const line = (label: string, stroke: string, width: number, fill?: string): uPlot.Series => ({
      label, stroke, width, fill, paths: fill ? bars : undefined, points: { show: !fill, size: 5, fill: stroke },
      value: (_: unknown, value: number | null) => (value === null ? '–' : bytes(value, i18n.language)),
    });
    const options: uPlot.Options = {
      width: element.clientWidth,
      height: HEIGHT,
      cursor: { points: { size: 7 } },
      legend: { live: true },
      scales: { y: { range: (_, _min, max) => [0, Math.max(max * 1.1, 1)] } },
      series: [
        { value: (_: unknown, at: number | null) => (at === null ? '–' : new Date(1000 * at).toLocaleString(i18n.language)) },
        line(t('growth.stored'), colour('--accent'), 0, colour('--good')),
        line(t('growth.changed'), colour('--late'), 1.5),
      ],
      axes: [{ ...axis, values: times }, { ...axis, size: 76, values: size, incrs: BINARY }],
    };
    const data: uPlot.AlignedData = [
      done.map((job) => new Date(job.ended_at ?? 0).getTime() / 1000),
      done.map((job) => madePoint(job)?.stored_bytes ?? 0),
      done.map((job) => madePoint(job)?.changed_bytes ?? 0),
    ];
    const plot = new uPlot(options, data, element);
    const watch = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: HEIGHT }));
    watch.observe(element);
    return () => {
      watch.disconnect();
      plot.destroy();
    };
    // The jobs' ids stand for the jobs.
  }, [key, colorScheme, i18n.language, t]);
  return <div ref={place} role="img" aria-label={t('growth.label', { count: done.length })} style={{ minHeight: HEIGHT + 30 }} />;
}
