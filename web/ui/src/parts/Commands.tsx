// Every action in another form: on the command line and as a request to the API, ready to be copied.
import { ActionIcon, Popover, Tooltip } from '@mantine/core';
import { IconTerminal2 } from '@tabler/icons-react';
import { useTranslation } from 'react-i18next';
import { curl, type ApiCall } from '../logic/commands';
import { CopyLine } from './CopyLine';
import classes from './Commands.module.css';

interface CommandsProps {
  /** What it does, for the button's name. */
  of: string;
  cli?: string;
  call?: ApiCall;
}

export function Commands({ of, cli, call }: CommandsProps) {
  const { t } = useTranslation();
  return (
    <Popover width={440} position="bottom-end" trapFocus>
      <Popover.Target>
        <Tooltip label={t('commands.show')}>
          <ActionIcon variant="subtle" color="gray" aria-label={t('commands.showFor', { of })} className={classes.button}>
            <IconTerminal2 size={18} />
          </ActionIcon>
        </Tooltip>
      </Popover.Target>
      <Popover.Dropdown className={classes.dropdown} aria-label={t('commands.showFor', { of })}>
        <div className="stack tight">
          {cli && (
            <>
              <p className="faint">{t('commands.cli')}</p>
              <CopyLine text={cli} />
            </>
          )}
          {call && (
            <>
              <p className="faint">{t('commands.api')}</p>
              <CopyLine text={curl(call, window.location.origin)} />
              <p className="faint">{t('commands.token')}</p>
            </>
          )}
        </div>
      </Popover.Dropdown>
    </Popover>
  );
}
