// Who and what may do something here: people, enrolments, the audit log. Each part has its URL.
import { Tabs } from '@mantine/core';
import { useTranslation } from 'react-i18next';
import { useNavigate, useParams } from 'react-router';
import { Screen } from '../parts/Screen';
import { Audit } from './Audit';
import { Enrolments } from './Enrolments';
import { People } from './People';

const PARTS = ['people', 'enrolments', 'audit'] as const;
type Part = (typeof PARTS)[number];

export default function Security() {
  const { t } = useTranslation();
  const go = useNavigate();
  const { part } = useParams();
  const shown = PARTS.find((one) => one === part) ?? 'people';
  return (
    <Screen title={t('security.title')} lead={t('security.lead')}>
      <Tabs value={shown} onChange={(value) => void go(`/security/${value as Part}`)} keepMounted={false}>
        <Tabs.List mb="md">
          {PARTS.map((one) => (
            <Tabs.Tab key={one} value={one}>
              {t(`security.${one}`)}
            </Tabs.Tab>
          ))}
        </Tabs.List>
        <Tabs.Panel value="people">
          <People />
        </Tabs.Panel>
        <Tabs.Panel value="enrolments">
          <Enrolments />
        </Tabs.Panel>
        <Tabs.Panel value="audit">
          <Audit />
        </Tabs.Panel>
      </Tabs>
    </Screen>
  );
}
