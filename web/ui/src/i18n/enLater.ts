// The page in English, continued: what only the screens behind the overview say. It comes with the first of them.
export const enLater = {
  confirm: { type: 'Type “{{word}}” to confirm', no: 'Cancel' },
  commands: { show: 'Show command', showFor: 'Show command: {{of}}', cli: 'On the command line', api: 'By the API', token: '$TOKEN is a token of yours: Account → Tokens.' },
  roleMore: {
    viewer: 'Sees everything but people and the audit log, changes nothing.', operator: 'Runs and edits what makes backups.',
    restorer: 'Restores, and sees what can be restored.', admin: 'Everything, people and keys included.',
  },
  right: { read: 'Read', operate: 'Operate', restore: 'Restore', agents: 'Machines', users: 'People', audit: 'Audit', settings: 'Settings' },
  rightMore: {
    read: 'See machines, points, plans, jobs, settings and events', operate: 'Edit plans, run and end jobs', restore: 'Read what was backed up and write it back',
    agents: 'Add repositories, add and revoke machines', users: 'Make, change and remove accounts: as strong as an admin', audit: 'Read and verify the audit log', settings: 'Change the settings and where alerts go',
  },
  link: {
    firstTitle: 'Welcome. Make the first account', title: 'Set your password', firstLead: 'This link works once. The account is an admin: it can do everything here.', lead: 'This link works once. Afterwards you log in with your name and this password.',
    nameMore: 'Small letters, digits, “.”, “_”, “-”', password: 'New password', passwordMore: 'At least {{count}} characters. A few words are easier to remember than symbols.', again: 'The password again', differs: 'The two passwords differ',
    begin: 'Begin', do: 'Set password and log in', noneTitle: 'This link is incomplete', none: 'The secret behind the # is missing. Copy the whole line that the server printed, or ask for a new link.', toLogIn: 'To the log-in',
  },
  strength: { 0: 'Too short', 1: 'Weak: easy to guess', 2: 'Fair', 3: 'Good', 4: 'Strong' },
  nowhere: { title: 'Nothing here', what: 'There is no screen at this address.', next: 'To the overview' },
  growth: { stored: 'Stored', changed: 'Changed', label: 'What the last {{count}} backups changed and stored' },
  changeMap: {
    title: 'Where it changed', legend: 'Colours', depth1: 'under 5 % of a place', depth2: '5 to 24 %', depth3: '25 to 74 %', depth4: '75 % and more', last: 'last backup', touched: 'changes in {{count}} of {{all}} places of {{part}}',
    drawn_one: '{{name}}: where it changed in one backup; {{last}}', drawn_other: '{{name}}: where it changed in the last {{count}} backups; last {{last}}',
  },
  disk: { removable: 'removable', readOnly: 'read-only', noPartitions: 'no partitions', drawn_one: '{{name}}: one partition', drawn_other: '{{name}}: {{count}} partitions' },
  enrol: {
    title: 'Add a machine', lead: 'A one-time token lets one machine in. It works for a day.', who: 'Which machine?', repository: 'It stores into', name: 'Its name here', nameMore: 'Empty: the machine says its own', make: 'Make the line',
    noRepository: 'There is no repository yet', noRepositoryMore: 'A machine needs a place to store into.', run: 'Run this line on the machine, as root', runMore: 'The machine needs the icecore program. It checks the fingerprint of this server before it sends anything.',
    local: 'This server listens on this computer only, without TLS: the line works here and on no other machine.', until: 'Works until', wait: 'Waiting for the machine', comes: 'The machine comes with the token', key: 'It gets a key to write with',
    keyMore: 'The machine shows a code. Whoever has the passphrase runs this line anywhere and types the code there; this server never sees the key.', ready: 'It is ready', done: '{{name}} is here', plan: 'Make a plan for it', look: 'Look at it',
    ended: 'This token has ended. Make another line.', another: 'Make another line',
  },
  enrolments: {
    title: 'Enrolments', none: 'No enrolments', machine: 'Machine', anyName: 'any name', by: 'Made by', until: 'Until', revoke: 'Revoke', open: 'Open', waiting: 'Waits for its key', done: 'Done', ended: 'Ended',
    authority: 'Fingerprint of this server', authorityMore: 'Machines and people compare it before they trust this server. The same is printed by: icecore-server admin fingerprint',
  },
  plans: {
    title: 'Plans', lead: 'What is backed up, when, and how long it stays.', plan: 'Plan', add: 'Make a plan', none: 'No plans yet', noneMore: 'A plan backs up by itself, and tells when it could not.', noneHere: 'No plan yet', noneHereMore: 'Nothing of this machine is backed up by itself.',
    when: 'When', promise: 'Promise', lastGood: 'Last good', lastJob: 'Last job', next: 'Next run', load: 'The coming week: plans that begin in each hour',
  },
  plan: {
    what: 'What', keep: 'How long it stays', more: 'Further settings', summary: 'Summary', name: 'Name of the plan', nameMore: 'Recovery points carry it, too', newLead: 'Everything but the disks has a sensible default.', make: 'Make plan', editTitle: 'Edit {{name}}',
    chooseMachine: 'Choose a machine', disks: 'Disks', allDisks: 'All disks', allDisksMore: 'Whatever disks the machine has when a backup begins, without removable ones', otherPath: 'Something else', otherPathMore: 'A logical volume or an image file, by its path on the machine', addPath: 'Add',
    sentence: 'Backs up {{disks}} of {{machine}},', nextRuns: 'Next runs:', lacks: 'Still needed', lacks_machine: 'Choose a machine', lacks_disks: 'Choose at least one disk', lacks_path: 'Paths begin with /', lacks_name: 'A name: small letters, digits, “.”, “_”, “-”', lacks_days: 'Choose at least one day',
    changed: 'Somebody else changed this plan', changedMore: 'Nothing of yours was saved yet. Look at their version, or save yours over it.', takeTheirs: 'Show their version', keepMine: 'Keep mine, then save again',
    run: 'Back up now', edit: 'Edit', pause: 'Pause', resume: 'Go on', paused: 'paused', remove: 'Remove', removeTitle: 'Remove {{name}}?', removeMore: 'It makes no backups any more. Its recovery points and the record of its jobs stay.',
    allowed: 'Oldest allowed', keeps: 'Keeps', retries: 'Further attempts', retriesWords_one: 'one more attempt', retriesWords_other: '{{count}} more attempts', pauseS: 'Pause before the next', limit: 'Read at most',
    usedOnly: 'Only what file systems use', usedOnlyMore: 'Leaves out free space; restored disks have zeroes there', allowLive: 'Back up disks in use even without a snapshot', allowLiveMore: 'Such points are marked “not consistent” for ever',
    points: 'Recovery points', asOf: 'As of', in0: 'Now', in1: 'In a day', in7: 'A week', in30: 'A month', in365: 'A year', asOfMore: 'What would stay then of the points that are there now.', noPoints: 'No recovery points yet', noPointsMore: 'The first backup makes one.',
    point: 'Point', received: 'Received', fate: 'Fate', stays: 'Stays', goes: 'May go', why: 'Why',
  },
  pointKind: { full: 'Full', full_read: 'Read in full', incremental: 'Incremental' },
  consistency: { offline: 'Not in use', crash_consistent: 'As after a power cut', application_consistent: 'Applications agreed', not_consistent: 'Not consistent' },
  restored: {
    length: 'Length', written: 'Data written', zeroed: 'Zeroes written', unchanged: 'Right already', wouldWrite: 'Data to be written', wouldZero: 'Zeroes to be written', files: 'Files and directories', replaced: 'Replaced others', beside: 'Beside others', skipped: 'Left out', incomplete: 'Without all metadata', trialDone: 'It would work', onlyLooked: 'It only looked: nothing was written.', same: 'Identical', sameMore: 'Every byte at the target is the point’s.', differs: 'Differs', differsMore: '{{size}} differ from the point.',
    check: 'Compare with the point', checkMore: 'Reads what was written and compares it, byte by byte. Nothing is written.',
  },
  kept: {
    title: 'What came of it', whole: 'All whole', damage: 'Damage found', errors_one: 'One error', errors_other: '{{count}} errors', packs: 'Packs read whole', packsFound: 'Packs', chunks: 'Chunks opened', further: 'and {{count}} more', givenUp: 'Points given up', deleted: 'Points deleted', freed: 'Freed', condemned: 'Freed at a later prune', live: 'Needed by points', dead: 'Dead, not worth rewriting', canUndo: 'Can be taken back until', takenBack: 'Taken back.',
  },
  keeping: {
    keeper: 'Kept by', nobody: 'nobody', none: 'Nobody keeps this repository', noneMore: 'Verifying, freeing space and restoring from here take its key, which this server does not have. Its keeper has it: run this line on the server’s machine and then the line that it prints.', byItself: 'Its keeper verifies what comes in, checks weekly, and frees space daily.', check: 'Check now', prune: 'What would be freed', verifications: 'Verifications',
  },
  rhythm: {
    asked: 'only when asked', hours_one: 'every hour at minute {{minute}}', hours_other: 'every {{count}} hours at minute {{minute}}', daily: 'daily at {{at}}', weekly: '{{days}} at {{at}}',
    kind_daily: 'Daily', kind_hours: 'Hourly', kind_weekly: 'Weekly', kind_cron: 'Cron', kind_asked: 'On request', every: 'How often', everyHours_one: 'every hour', everyHours_other: 'every {{count}} hours', at: 'At', cron: 'Cron expression', cronMore: 'Minute, hour, day, month, weekday',
    wrong: 'This expression has no next run', zone: 'Time zone', jitter: 'Spread', jitterMore: 'Runs begin up to this much later', days: 'Days', catchUp: 'Make up for a missed run', catchUpMore: 'Once, however many the server slept through',
  },
  keep: {
    all: 'Keeps every recovery point', words: 'Keeps {{list}}', hourly: 'Hours', daily: 'Days', weekly: 'Weeks', monthly: 'Months', quarterly: 'Quarters', yearly: 'Years', last: 'Newest', minimum: 'At least',
    hourlyWords_one: 'one hourly', hourlyWords_other: '{{count}} hourly', dailyWords_one: 'one daily', dailyWords_other: '{{count}} daily', weeklyWords_one: 'one weekly', weeklyWords_other: '{{count}} weekly', monthlyWords_one: 'one monthly', monthlyWords_other: '{{count}} monthly',
    quarterlyWords_one: 'one quarterly', quarterlyWords_other: '{{count}} quarterly', yearlyWords_one: 'one yearly', yearlyWords_other: '{{count}} yearly', lastWords_one: 'the newest', lastWords_other: 'the {{count}} newest', withinWords: 'all of the last {{span}}', withinStays: 'And all of the last {{span}}, as it was set.',
  },
  simulator: {
    title: 'What you will have', asked: 'A plan that only runs when it is asked has no calendar to look ahead on.', wrong: 'Without a next run there is nothing to show.', sentence_one: '{{when}} there is one recovery point of {{made}} made.', sentence_other: '{{when}} there are {{count}} recovery points of {{made}} made.',
    oldest: 'The oldest is of {{day}}.', size: 'About {{size}}, judging by {{count}} backups so far.', noSizes: 'How much room that takes can be told after three backups.', verified: 'Nothing is given up before a later point was verified, so there may be more.', drawn: '{{count}} recovery points as layers, now at the left', ahead: 'How far ahead',
    in1: 'In a day', in7: 'In a week', in30: 'In a month', in90: 'In three months', in180: 'In half a year', in365: 'In a year', mark1: '1 d', mark7: '1 w', mark30: '1 m', mark90: '3 m', mark180: '6 m', mark365: '1 y',
  },
  jobs: {
    title: 'Jobs', lead: 'One run of something long each, the latest first.', job: 'Job', none: 'No jobs', noneMore: 'Nothing fits these filters.', more: 'Show more', anyState: 'Any state', anyMachine: 'Any machine', anyPlan: 'Any plan', anyKind: 'Any kind', kind: 'Kind', began: 'Began', took: 'Took', read: 'Read', stored: 'Stored',
  },
  jobCause: { calendar: 'the calendar', after: 'another plan', person: 'a person', received: 'a point that came in' },
  provider: { module: 'the kernel module', lvm: 'LVM', direct: 'nobody' },
  share: { read: 'Reading', limit: 'Limit', hash: 'Hashing', known: 'Look-up', compress: 'Compressing', store: 'Storing' },
  bottleneck: {
    read: 'Mostly waits for the disk ({{percent}} %).', limit: 'Mostly held back by the plan’s limit ({{percent}} %).', hash: 'Mostly hashes ({{percent}} %): the processor sets the pace.', known: 'Mostly looks chunks up ({{percent}} %).',
    compress: 'Mostly compresses ({{percent}} %): the processor sets the pace.', store: 'Mostly waits for packs to be stored ({{percent}} %): network or repository set the pace.',
  },
  repositories: {
    title: 'Repositories', lead: 'Where backups lie. This server keeps them and holds no key to them.', add: 'Add a repository', addIt: 'Add', wasAdded: 'The repository was added.', none: 'No repository yet', noneMore: 'Make one with icecore init on this server, on another disk than those that are backed up, and add it here.',
    directory: 'Directory', directoryMore: 'On the server, an absolute path; best on a disk of its own', machines: 'Machines', added: 'Added', id: 'Id', url: 'For the command line', name: 'Name', nameMore: 'Small letters, digits and “-”; a part of its address', init: 'If it is not there yet, make it on the server, as the user that the server runs as. Choose a good passphrase: without it nobody can restore.',
    maintain: 'Beside the repository, who has the passphrase checks it and frees space:',
  },
  kit: {
    safe: 'Kit safe', unsafe: 'Kit not confirmed', title: 'Save the recovery kit', more: 'The kit opens every backup in this repository when the passphrase is lost. Run this line on the server, print what it makes, keep it in another place, and delete the file.',
    digits: 'Last six digits of the line “repository:”', digitsMore: 'From the printed kit in your hand, to show that it is there', confirm: 'The kit is in a safe place', confirmed: 'The recovery kit is confirmed.', confirmedBy: '{{name}} confirmed that the recovery kit is safe:',
  },
  channels: {
    title: 'Where alerts are told', add: 'Add a channel', addIt: 'Add', wasAdded: 'The channel was added.', none: 'Nobody is told', noneMore: 'Add a mail address or a webhook, and test it.', fails: 'Fails', on: 'On', off: 'Off', disable: 'Switch off', enable: 'Switch on', actionsOf: 'More: {{name}}',
    remove: 'Remove', removeTitle: 'Remove {{name}}?', removeMore: 'No alerts go there any more.', allKinds: 'All kinds', lastSent: 'last sent', test: 'Send a test', tested: 'The test was taken.', kind: 'Kind', mail: 'Mail', webhook: 'Webhook', name: 'Name', url: 'Address', urlMore: 'Gets a signed POST for each message',
    host: 'Mail server', port: 'Port', encryption: 'Encryption', user: 'User', password: 'Password', from: 'Sender', to: 'Recipients', toMore: 'Enter after each', kinds: 'Which alerts', secret: 'This secret signs what is sent there. It is shown once.', secretLabel: 'Secret of the webhook',
  },
  encryption: { starttls: 'STARTTLS', tls: 'TLS', off: 'none' },
  security: { title: 'Security', lead: 'Who may do what, and what was done.', people: 'People', enrolments: 'Enrolments', audit: 'Audit log' },
  people: {
    title: 'People', add: 'Add a person', addIt: 'Add', role: 'Role', totp: 'Authenticator', yes: 'yes', no: 'no', lastLogIn: 'Last log-in', actions: 'Actions', actionsOf: 'More: {{name}}', shut: 'Shut out', active: 'Active', invited: 'Invited', link: 'New one-time link', linkTitle: 'One-time link',
    linkMore: 'Give this link to the person, and to nobody else: it sets the password and logs in. It is shown once.', endSessions: 'End all sessions', makeRole: 'Make {{role}}', doShut: 'Shut out', open: 'Let in again', remove: 'Remove', removeTitle: 'Remove {{name}}?', removeMore: 'Sessions and tokens end at once. What the person did stays in the audit log.',
  },
  audit: {
    title: 'What was done', number: 'No.', when: 'When', who: 'Who', what: 'What', detail: 'Detail', from: 'From', outcome: 'Outcome', done: 'Done', refused: 'Refused', verifyTitle: 'Is the log whole?', verifyMore: 'Each entry’s hash covers the one before. Somebody who can write the file could still write all of it anew; only a head that you noted elsewhere finds that.',
    noted: 'A head that you noted', notedMore: 'NUMBER:HASH that you noted, or nothing', notedWrong: 'A head is a number, a colon and 64 digits', verify: 'Verify', intact: 'Intact', broken: 'Damaged', entries_one: '{{text}} entry', entries_other: '{{text}} entries', head: 'Head, to be noted elsewhere',
  },
  settings: {
    title: 'Settings', lead: 'What counts while the server runs. What it needs to start is in its configuration file.', server: 'This server', name: 'Name of the appliance', nameMore: 'What people call it, in alerts and here', idle: 'A session ends when it is not used for', idleMore: '5 minutes to 30 days', lifetime: 'A session ends in any case after', lifetimeMore: 'Up to 90 days', link: 'One-time links work for', linkMore: 'Up to 7 days',
    health: 'How it is', version: 'Version', since: 'Started', clock: 'Its clock', database: 'Database', databaseVersion: 'Structure',
  },
  account: {
    title: 'Account', lead: '{{name}}, {{role}}', password: 'Password', current: 'Password so far', fresh: 'New password', change: 'Change password', passwordChanged: 'The password was changed; all other sessions ended.', sessions: 'Where you are logged in', browser: 'Browser', address: 'Address', since: 'Since', seen: 'Last used', here: 'This one', end: 'End',
  },
  totp: {
    title: 'Authenticator', more: 'A second proof besides the password: a code that changes every half minute.', password: 'Your password', set: 'Set up', remove: 'Remove', removed: 'The authenticator was removed.', scan: 'Scan this with your authenticator, then type the code that it shows.', qr: 'QR code for the authenticator', type: 'Or type this secret:', secret: 'Secret',
    confirm: 'Confirm', bound: 'The authenticator counts from now on.', codes: 'Recovery codes, for the day that the authenticator is lost. Each works once; they are shown once.', codesLabel: 'Recovery codes', kept: 'I keep them in a safe place',
  },
  tokens: {
    title: 'Tokens', add: 'Make a token', none: 'No tokens', noneMore: 'Scripts log in with a token: rights of its own, and never more than yours.', name: 'For what', nameMore: 'So that you recognise it later', prefix: 'Begins with', rights: 'Rights', used: 'Last used', ends: 'Ends', days_one: 'in a day', days_other: 'in {{count}} days', make: 'Make token',
    revoke: 'Revoke', revokeOf: 'Revoke {{name}}', revoked: 'The token was revoked.', once: 'This is the token. It is shown once: copy it now.', secret: 'Token',
  },
  explorer: { title: 'API', lead: 'Everything that this page does, scripts can do, too.', search: 'Search: jobs, POST, settings …', none: 'No operation fits.', body: 'Body:' },
  restore: {
    title: 'Restore', lead: 'Nothing is written before the last step.', mayNot: 'You may look, but not restore', mayNotMore: 'Restoring takes the role Restorer or Admin.', when: 'When', what: 'What', where: 'Where', go: 'Look, then restore', another: 'Another point', forgotten: 'It restores as long as its space is not freed.', machine: 'Of which machine', choose: 'Choose', chooseOf: 'Choose {{name}}',
    what_disk: 'Whole disk', what_partition: 'One partition', what_files: 'Files', what_image: 'Image', more_disk: 'Every byte of the disk, to a device or an image file.', more_partition: 'One partition, to a partition of at least its size or an image file.', more_files: 'Files and directories with owners, times and attributes, into a directory or back to where they were. Of file systems that are read here; of others by icecore mount.', more_image: 'The disk as an image that a virtual machine boots.',
    disk: 'Disk', partition: 'Partition number', partitionMore: 'As the partition table counts; the line below lists them', partitionOf: 'Partition', partitionOfMore: 'Empty: the only one with files', format: 'Format', format_qcow2: 'qcow2, for QEMU and KVM', format_vmdk: 'vmdk, for VMware', files: 'Files and directories', filesMore: 'One path in each line, / for everything', listing: 'Lists disks, partitions and files',
    noKeeper: 'Nobody keeps {{name}}, so nobody can restore from here', writer: 'Written by', writerKeeper: 'The machine of the keeper', targetThere: 'A path on that machine, where its agent allows restores', consents: 'Two command lines have to allow it, of the keeper and of {{name}}', consentsMore: 'Whoever runs them says so; this server cannot. What is restored is sealed to that machine on its way. A dry run tells whether both do.', consentKeeper: 'On the machine of the keeper', consentMachine: 'On {{name}}', target: 'To', targetDirectory: 'Into the directory', targetMore: 'A path on the machine that keeps the repository, where its keeper allows restores (icecore agent run --restore-to)', targetWrong: 'A path begins with /', overwrite: 'Replace what is there', overwriteMore: 'Otherwise a target that is not empty is refused',
    delta: 'Write only what differs', deltaMore: 'Reads the target first; quick where most of it is right already', elsewhere: 'Onto any other machine, run there, with the passphrase or kit:', lacks_point: 'Choose a point.', lacks_disk: 'Choose a disk.', lacks_partition: 'Say which partition.', lacks_files: 'Name files; their paths begin with /.', lacks_target: 'Say where to.',
    intoDirectory: 'Into a directory', back: 'Back to where they were', backMore: 'Into the file system that they were in, wherever it is mounted on the machine now. Only points that the machine made itself go back, and only below directories that its agent allows.', wherePlace: 'where it was', away: '{{name}} · does not answer',
    existing: 'Files that exist', existing_beside: 'Keep them, restore beside', existing_skip: 'Keep them, leave those out', existing_overwrite: 'Replace them', existingMore_beside: 'What differs gets a new name: NAME.restored-DATE', existingMore_skip: 'Only what is missing is restored', existingMore_overwrite: 'Each is replaced at once, when the restored one is whole', replaces: 'Files that exist will be replaced', trialFiles: 'A dry run counts files, bytes and what exists, and writes nothing. It tells whether both command lines allow it.',
    trial: 'Dry run', trialAgain: 'Dry run again', trialMore: 'A dry run reads and counts, and writes nothing: what would be written, whether the target is free, large enough and allowed.', destroys: 'What is at {{target}} will be lost', destroysMore: 'There is no way back. Look twice that it is the right target.', do: 'Restore', confirm: 'Restore {{name}} to {{target}}?',
  },
  files: {
    title: 'Files', volume: 'File system', choose: 'Choose one', unknown: 'unknown', mayNot: 'You may not look into backups', notYet: 'Files cannot be looked at here yet ({{held}})', notYetMore: 'No file system of this point is read here. The kernel reads any file system of a mounted point; whole disks, partitions and images restore whatever they hold.', mount: 'Mount it', restore: 'Restore this directory', restoreFile: 'Restore', restoreChosen_one: 'Restore one chosen', restoreChosen_other: 'Restore {{count}} chosen', state: 'State of this {{name}}',
    empty: 'An empty directory', modified: 'Modified', owner: 'Owner', mode: 'Mode', count_one: 'One entry', count_other: '{{text}} entries', damaged: 'damaged', path: 'Path', root: 'Root', download: 'Download', downloadAs: 'Download as {{format}}', downloadAll: 'Download this directory', noPreview: 'There is no preview of this kind of file.', emptyFile: 'The file is empty.', cut: 'Only the first {{size}} are shown.',
    search: 'Search for files', searchMore: 'Part of a name, or *.conf', find: 'Find', foundOf: 'Files like {{name}}, in all recovery points of this name', foundNone: 'No recovery point that was searched has such a file', foundMore: 'Search further', versions: 'Versions', versionsNone: 'No recovery point that was searched has this file', inPoints: 'In points', newestPoint: 'Newest point',
    missing_one: 'One recovery point is not searched, or not all of it', missing_other: '{{text}} recovery points are not searched, or not all of them', missingMore: 'The keeper lists the files of new points one after the other; file systems that are not read here are in no list.',
  },
};
