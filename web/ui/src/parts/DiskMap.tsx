// Disks with their partitions drawn to scale; as a choice or only to look at.
import { Checkbox } from '@mantine/core';
import { useTranslation } from 'react-i18next';
import { disks, type DeviceOf, type Disk } from '../logic/disks';
import { bytes } from '../logic/units';
import classes from './DiskMap.module.css';

interface DiskMapProps {
  devices: DeviceOf[];
  /** Paths that are chosen; without it nothing can be. */
  chosen?: string[];
  choose?: (paths: string[]) => void;
}

export function DiskMap({ devices, chosen, choose }: DiskMapProps) {
  const all = disks(devices);
  const largest = Math.max(1, ...all.map((disk) => disk.device.size_bytes));
  return (
    <ul className={classes.disks}>
      {all.map((disk) => (
        <li key={disk.device.path}>
          <DiskRow disk={disk} largest={largest} chosen={chosen} choose={choose} />
        </li>
      ))}
    </ul>
  );
}

function DiskRow({ disk, largest, chosen, choose }: { disk: Disk; largest: number } & Pick<DiskMapProps, 'chosen' | 'choose'>) {
  const { t, i18n } = useTranslation();
  const { device, parts } = disk;
  const isChosen = chosen?.includes(device.path) ?? false;
  const name = [device.path, device.label].filter(Boolean).join(' · ');
  const words = [bytes(device.size_bytes, i18n.language), device.removable && t('disk.removable'), device.read_only && t('disk.readOnly')];
  // Square root: a disk of 8 TB beside one of 32 GB leaves both to be seen.
  const width = `${Math.max(18, 100 * Math.sqrt(device.size_bytes / largest))}%`;
  const mapped = [...new Map(parts.flatMap((part) => part.above).map((one) => [one.path, one])).values()];
  return (
    <div className={classes.disk} data-chosen={isChosen || undefined}>
      <div className="row apart">
        {choose ? (
          <Checkbox
            label={name}
            checked={isChosen}
            onChange={(event) =>
              choose(event.currentTarget.checked ? [...(chosen ?? []), device.path] : (chosen ?? []).filter((path) => path !== device.path))
            }
          />
        ) : (
          <span className={classes.name}>{name}</span>
        )}
        <span className="faint numbers">{words.filter(Boolean).join(' · ')}</span>
      </div>
      <div className={classes.core} style={{ width }} role="img" aria-label={t('disk.drawn', { name, count: parts.length })}>
        {parts.length === 0 ? (
          <span className={classes.whole}>{device.file_system ?? t('disk.noPartitions')}</span>
        ) : (
          parts.map((part) => (
            <span key={part.device.path} className={classes.part} style={{ flexBasis: `${100 * part.share}%` }} data-used={part.device.file_system || part.above.length > 0 || undefined} title={told(part.device)}>
              {part.share > 0.16 && <span>{part.device.mounts[0] ?? part.device.file_system ?? part.device.path.split('/').pop()}</span>}
            </span>
          ))
        )}
      </div>
      {(parts.length > 0 || mapped.length > 0) && (
        <ul className={classes.parts}>
          {[...parts.map((part) => part.device), ...mapped].map((one) => (
            <li key={one.path}>
              <span className="mono">{one.path.replace('/dev/', '')}</span> <span className="numbers">{bytes(one.size_bytes, i18n.language)}</span>
              {one.file_system ? ` · ${one.file_system}` : ''}
              {one.mounts.length > 0 ? ` · ${one.mounts.slice(0, 3).join(', ')}` : ''}
            </li>
          ))}
        </ul>
      )}
    </div>
  );

  function told(one: DeviceOf): string {
    return [one.path, bytes(one.size_bytes, i18n.language), one.file_system, ...one.mounts].filter(Boolean).join(' · ');
  }
}
