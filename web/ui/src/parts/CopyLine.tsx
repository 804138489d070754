// A command or secret that is to be copied as it stands.
import { ActionIcon, CopyButton, Tooltip } from '@mantine/core';
import { IconCheck, IconCopy } from '@tabler/icons-react';
import { useTranslation } from 'react-i18next';
import classes from './CopyLine.module.css';

export function CopyLine({ text, label }: { text: string; label?: string }) {
  const { t } = useTranslation();
  return (
    <div className={classes.line}>
      <pre className={classes.text} tabIndex={0} aria-label={label ?? t('copy.text')}>
        {text}
      </pre>
      <CopyButton value={text} timeout={2000}>
        {({ copied, copy }) => (
          <Tooltip label={copied ? t('copy.done') : t('copy.do')}>
            <ActionIcon variant="subtle" onClick={copy} aria-label={copied ? t('copy.done') : t('copy.do')}>
              {copied ? <IconCheck size={17} /> : <IconCopy size={17} />}
            </ActionIcon>
          </Tooltip>
        )}
      </CopyButton>
    </div>
  );
}
