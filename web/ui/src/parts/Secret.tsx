// What is shown only once, to be copied.
import { Button } from '@mantine/core';
import { useTranslation } from 'react-i18next';
import { CopyLine } from './CopyLine';

export function Secret({ lead, secret, label, close }: { lead: string; secret: string; label: string; close: () => void }) {
  const { t } = useTranslation();
  return (
    <div className="stack">
      <p>{lead}</p>
      <CopyLine text={secret} label={label} />
      <Button onClick={close}>{t('state.done')}</Button>
    </div>
  );
}
