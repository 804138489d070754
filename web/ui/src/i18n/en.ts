// The page in English. The other languages have the same keys; a test compares them, and what the screens ask for with what is here. What the overview does not say is in enLater.ts.
import type { enLater } from './enLater';

export const en = {
  state: {
    loading: 'Loading', again: 'Try again', close: 'Close', save: 'Save', saved: 'Saved.', done: 'Done', more: 'More',
    offline: 'The server cannot be reached.', offlineNext: 'This page tries again by itself. Backups go on meanwhile: machines wait for the server.', requestId: 'Request',
  },
  copy: { do: 'Copy', done: 'Copied', text: 'Text to copy' },
  time: { never: 'never' },
  nav: {
    label: 'Screens', skip: 'Skip to the content', menu: 'Menu', overview: 'Overview', machines: 'Machines', plans: 'Plans', points: 'Recovery points', jobs: 'Jobs', repositories: 'Repositories',
    alerts: 'Alerts', security: 'Security', settings: 'Settings', api: 'API', account: 'Account', logOut: 'Log out', language: 'Language', scheme: 'Light or dark',
  },
  scheme: { auto: 'As the system', light: 'Light', dark: 'Dark' },
  live: {
    live: 'Live', connecting: 'Connecting', lost: 'Not connected', liveLong: 'Changes appear as they happen', connectingLong: 'The connection for changes is being made',
    lostLong: 'The server cannot be reached. What you see may be old; it is renewed as soon as the server answers.',
  },
  role: { viewer: 'Viewer', operator: 'Operator', restorer: 'Restorer', admin: 'Admin' },
  logIn: {
    title: 'Log in', name: 'Name', password: 'Password', code: 'One-time code', codeMore: 'From your authenticator, or a recovery code', do: 'Log in', showPassword: 'Show or hide the password',
    lost: 'Lost your password? An admin can give you a one-time link; on the server itself: icecore-server admin log-in-link NAME.',
  },
  overview: {
    title: 'Overview', verdict: 'Can everything be restored?', machines: 'Machines, last 30 days', alerts: 'Alerts', allAlerts: 'All alerts', running: 'Running now', allJobs: 'All jobs', nothingRuns: 'Nothing runs at the moment.',
    next: 'Next', allowed: 'promised: {{age}} at most',
  },
  verdict: {
    none: 'No machine stores here yet.', noneMore: 'The steps below lead to the first backup.',
    good_one: 'The machine has a recent backup.', good_other: 'All {{count}} machines have a recent backup.', goodMore: 'Every plan keeps its promise.', almost: 'Nearly there.', kits: 'A recovery kit is missing.',
    bad_one: '{{count}} of {{all}} machines has no recent backup.', bad_other: '{{count}} of {{all}} machines have no recent backup.',
    unplanned_one: 'One machine has no plan.', unplanned_other: '{{count}} machines have no plan.',
    waiting_one: 'One waits for its first backup.', waiting_other: '{{count}} wait for their first backup.',
    kit_one: 'The recovery kit of {{names}} is not confirmed: when the passphrase is lost, every backup in it is.', kit_other: 'The recovery kits of {{names}} are not confirmed: when a passphrase is lost, every backup there is.', kitNext: 'Save it now',
  },
  steps: {
    title: 'First steps', done: 'done', repository: 'Add a repository', repositoryMore: 'The place on this server where backups are stored, encrypted.', repositoryDo: 'Add',
    machine: 'Add this machine or another', machineMore: 'One line to run on it; this page notices when it comes.', machineDo: 'Add machine', plan: 'Make a plan', planMore: 'Choose the disks. Times and rules come with sensible defaults.', planDo: 'Make plan',
    kit: 'Save the recovery kit', kitMore: 'Your second key. Without it a lost passphrase means lost backups.', kitDo: 'Save kit', backup: 'Back up now', backupMore: 'Run the plan once and watch it.', backupDo: 'Back up',
  },
  strip: {
    summary: '{{label}}, last {{days}} days: {{good}} good, {{bad}} with failures, {{none}} without a backup', legend: 'What the colours mean', legendGood: 'good; stronger: more stored', legend_mixed: 'good and failed', legend_bad: 'failed', legend_none: 'no backup',
    none: 'no backup', before: 'not here yet', good: 'good', mixed: 'good and failed', bad: 'failed', cancelled: 'cancelled', succeeded_one: 'one backup', succeeded_other: '{{count}} backups', failed_one: 'one failed', failed_other: '{{count}} failed', stored: '{{size}} stored',
  },
  machineState: { kept: 'Safe', late: 'Too late', waiting: 'Waits', paused: 'Paused', unplanned: 'No plan', keeper: 'Keeper', none: 'On request' },
  machines: {
    title: 'Machines', lead: 'Everything that stores recovery points here.', machine: 'Machine', add: 'Add machine', none: 'No machine yet', noneMore: 'A machine joins by one line that you run on it. It can only add: it reads and deletes nothing here.',
    name: 'Name', state: 'State', lastGood: 'Last good backup', plans: 'Plans', repository: 'Repository', seen: 'Last seen', revoked: 'Revoked', host: 'Host name', heard: 'Last heard of', version: 'Agent', limit: 'Speed limit', noLimit: 'none', quota: 'Quota', noQuota: 'none',
    days: 'Last {{count}} days', disks: 'Disks', reported: 'as of', noDisks: 'No disks known yet', noDisksMore: 'The machine tells its disks once “icecore agent run” runs there.', growth: 'Changed and stored', jobs: 'Jobs',
    limits: 'Limits', limitsTitle: 'Limits of {{name}}', limitMore: 'How fast it may send; empty for as fast as it goes', quotaMore: 'How much its data may take; empty for as much as there is',
    revoke: 'Revoke', revokeTitle: 'Revoke {{name}}?', revokeMore: 'From this moment nothing that it sends is taken, and its plans make no backups. Its recovery points stay. It cannot be taken back: to return, the machine is added again.',
  },
  points: {
    title: 'Recovery points', lead: 'Everything that can be restored, the newest first.', newest: 'Newest recovery points', all: 'All points', none: 'No recovery points', unnamed: 'point', anyRepository: 'Any repository', withForgotten: 'Given up, too', anySeries: 'All series', state: 'Proof', kind: 'Kind', size: 'Size', added: 'Added',
    count_one: 'One recovery point', count_other: '{{text}} recovery points', countMore: 'The newest {{text}}; more come as you scroll.', provedLast: 'The newest that was read and proved whole:', provedNone: 'None of them was read and proved whole yet.',
    made: 'The disks were so', consistency: 'Consistency', itsJob: 'the backup that made it', series: 'Series', others: 'the others of its series', readFrom: 'Read from', proof: 'Proof', verified: 'Last verified', provedSince: 'Proved since', verify: 'Verify now',
    provedMore: 'Every chunk of it was read, decrypted and compared with its id. A restore reads the same.', unprovedMore: 'Nobody has read it whole yet. The repository’s keeper does it by itself soon after a point came in.', flawedMore: 'It was read, and a part of it is damaged or missing.',
    isGone: 'This point is gone', isGoneMore: 'Its space was freed:', isForgotten: 'This point was given up', isForgottenMore: 'It can be had back until', isFlawed: 'A part of this point cannot be restored.', isFlawedMore: 'The next backup of its series reads everything and stores again what the disks still have.', isSuspect: 'This point may lack changes', isSuspectMore: 'The list of changes that it was made from was incomplete. It restores; the last full read before it is sure.',
    notConsistentMore: 'The disk was written to while it was read. File systems on it may need a repair after a restore.', noKeeper: 'Only a keeper knows more of it', noKeeperMore: 'Name, disks and sizes are sealed for this server. The repository’s keeper tells them once it has looked:',
    byHand: 'By hand', byHandMore: 'On any machine that reaches the repository, with its passphrase or kit:', restore: 'Restore', forget: 'Give up', undo: 'Take back', forgetTitle: 'Give {{name}} up?', forgetMore: 'It disappears from the list of what is kept. For a week it can be taken back; then its space is freed.', reason: 'Why (for people)',
  },
  pointState: { proved: 'Proved whole', unproved: 'Not proved yet', suspect: 'May lack changes', flawed: 'Damaged', forgotten: 'Given up', gone: 'Gone' },
  jobState: { queued: 'Queued', running: 'Running', succeeded: 'Succeeded', failed: 'Failed', cancelled: 'Cancelled' },
  jobKind: { backup: 'Backup', restore: 'Restore', verify: 'Verification', check: 'Check', prune: 'Prune', forget: 'Giving up', copy: 'Copy of the database' },
  job: {
    title: '{{kind}} {{plan}}', cancelling: 'Ending', warnings: 'Good to know', waits: 'Waits for its machine to take it up.', waitsUntil: 'Waits for its next attempt', course: 'Course', progress: 'Progress', failure: 'Why it failed', cause: 'Cause', fix: 'What to do',
    attempt: 'Attempt', attemptOf: '{{attempt}} of {{of}}', comes: 'another attempt follows by itself', point: 'Recovery point', source: 'Size of the disks', changed: 'Changed', provider: 'Held still by', fullRead: 'Everything was read: {{reason}}.', restoreHint: 'Restore it on any machine:',
    facts: 'Facts', causeOf: 'Made by', due: 'Due', ended: 'Ended', readSoFar: 'Read so far', zero: 'Of that zero', known: 'Already known', new: 'New', cancel: 'Cancel job', retry: 'Try again', log: 'Log', noLog: 'Nothing was logged yet.', search: 'Search the log',
  },
  stage: { open: 'Open', comparing: 'Look', export: 'Image', snapshot: 'Snapshot', index: 'Index', backup: 'Read and store', commit: 'Commit', restore: 'Restore', check: 'Check', prune: 'Prune', verify: 'Verify' },
  alerts: { title: 'Alerts', lead: 'What somebody has to look at. An alert lasts until its cause is over.', list: 'Alerts', show: 'Which', lasting: 'Lasting', all: 'All', none: 'All quiet', noneMore: 'Nothing needs attention.', never: 'There was no alert yet', over: 'over' },
  alertKind: {
    job_failed: 'Job failed', plan_late: 'No good recovery point', plan_paused: 'Plan paused for long', agent_silent: 'Machine silent', agent_suspended: 'Machine suspended', repository: 'Repository', server: 'Server',
  },
};

export type Words = typeof en & typeof enLater;
