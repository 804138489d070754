// Everything round the screens: theme, queries, messages, who is logged in, and which screen a URL is.
import { MantineProvider } from '@mantine/core';
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { lazy, Suspense, type ComponentType } from 'react';
import { BrowserRouter, Navigate, Route, Routes } from 'react-router';
import { asFailure, OFFLINE } from '../api/failure';
import { Loading } from '../parts/states';
import { Toasts } from '../parts/toasts';
import { theme } from '../theme/theme';
import { Gate } from './Gate';
import { Shell } from './Shell';

const queries = new QueryClient({
  defaultOptions: {
    queries: {
      // Events say when something is out of date; a window that comes back asks once more.
      staleTime: 30_000,
      retry: (count, error) => asFailure(error).code === OFFLINE && count < 3,
    },
  },
});

/** A screen with its texts. */
function screen<Props extends object>(load: () => Promise<{ default: ComponentType<Props> }>) {
  return lazy(async () => (await Promise.all([load(), import('../i18n/wordsLater')]))[0]);
}

const Overview = lazy(() => import('../screens/Overview'));
const Machines = screen(() => import('../screens/Machines'));
const Machine = screen(() => import('../screens/Machine'));
const Enrol = screen(() => import('../screens/Enrol'));
const Plans = screen(() => import('../screens/Plans'));
const PlanEditor = screen(() => import('../screens/PlanEditor'));
const PlanScreen = screen(() => import('../screens/Plan'));
const Points = screen(() => import('../screens/Points'));
const PointScreen = screen(() => import('../screens/Point'));
const Files = screen(() => import('../screens/Files'));
const Restore = screen(() => import('../screens/Restore'));
const Jobs = screen(() => import('../screens/Jobs'));
const JobScreen = screen(() => import('../screens/Job'));
const Repositories = screen(() => import('../screens/Repositories'));
const Alerts = screen(() => import('../screens/Alerts'));
const Security = screen(() => import('../screens/Security'));
const Settings = screen(() => import('../screens/Settings'));
const Account = screen(() => import('../screens/Account'));
const Explorer = screen(() => import('../screens/Explorer'));
const LogInLink = screen(() => import('../screens/LogInLink'));
const Nowhere = screen(() => import('../screens/Nowhere'));

export function Page() {
  return (
    <MantineProvider theme={theme} defaultColorScheme="auto" withCssVariables={false} withGlobalClasses={false}>
      <QueryClientProvider client={queries}>
        <Toasts>
          <BrowserRouter>
            <Suspense fallback={<Loading />}>
              <Routes>
                <Route path="first/log-in" element={<LogInLink isFirst />} />
                <Route path="log-in" element={<LogInLink />} />
                <Route element={<Gate />}>
                  <Route element={<Shell />}>
                    <Route index element={<Overview />} />
                    <Route path="machines" element={<Machines />} />
                    <Route path="machines/enrol" element={<Enrol />} />
                    <Route path="machines/:id" element={<Machine />} />
                    <Route path="plans" element={<Plans />} />
                    <Route path="plans/new" element={<PlanEditor />} />
                    <Route path="plans/:id" element={<PlanScreen />} />
                    <Route path="plans/:id/edit" element={<PlanEditor />} />
                    <Route path="points" element={<Points />} />
                    <Route path="points/:id" element={<PointScreen />} />
                    <Route path="points/:id/files" element={<Files />} />
                    <Route path="restore" element={<Restore />} />
                    <Route path="jobs" element={<Jobs />} />
                    <Route path="jobs/:id" element={<JobScreen />} />
                    <Route path="repositories" element={<Repositories />} />
                    <Route path="alerts" element={<Alerts />} />
                    <Route path="security" element={<Navigate to="people" replace />} />
                    <Route path="security/:part" element={<Security />} />
                    <Route path="settings" element={<Settings />} />
                    <Route path="account" element={<Account />} />
                    <Route path="api" element={<Explorer />} />
                    <Route path="*" element={<Nowhere />} />
                  </Route>
                </Route>
              </Routes>
            </Suspense>
          </BrowserRouter>
        </Toasts>
      </QueryClientProvider>
    </MantineProvider>
  );
}
