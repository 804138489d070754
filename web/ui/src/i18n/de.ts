// Die Seite auf Deutsch.
import type { Words } from './en';

export const de: Words = {
  state: {
    loading: 'Lädt', again: 'Noch einmal', close: 'Schließen', save: 'Speichern', saved: 'Gespeichert.', done: 'Fertig', more: 'Mehr',
    offline: 'Der Server ist nicht zu erreichen.', offlineNext: 'Diese Seite versucht es von selbst wieder. Sicherungen gehen weiter: Die Maschinen warten auf den Server.', requestId: 'Anfrage',
  },
  copy: { do: 'Kopieren', done: 'Kopiert', text: 'Text zum Kopieren' },
  confirm: { type: 'Zur Bestätigung „{{word}}“ eintippen', no: 'Abbrechen' },
  commands: { show: 'Befehl zeigen', showFor: 'Befehl zeigen: {{of}}', cli: 'Auf der Kommandozeile', api: 'Über die API', token: '$TOKEN ist ein Token von Ihnen: Konto → Token.' },
  time: { never: 'nie' },
  nav: {
    label: 'Seiten', skip: 'Zum Inhalt', menu: 'Menü', overview: 'Übersicht', machines: 'Maschinen', plans: 'Pläne', points: 'Wiederherstellungspunkte', jobs: 'Aufträge', repositories: 'Repositorys',
    alerts: 'Warnungen', security: 'Sicherheit', settings: 'Einstellungen', api: 'API', account: 'Konto', logOut: 'Abmelden', language: 'Sprache', scheme: 'Hell oder dunkel',
  },
  scheme: { auto: 'Wie das System', light: 'Hell', dark: 'Dunkel' },
  live: {
    live: 'Live', connecting: 'Verbindet', lost: 'Nicht verbunden', liveLong: 'Änderungen erscheinen, sobald sie geschehen', connectingLong: 'Die Verbindung für Änderungen wird aufgebaut',
    lostLong: 'Der Server ist nicht zu erreichen. Was Sie sehen, kann veraltet sein; es wird erneuert, sobald der Server antwortet.',
  },
  role: { viewer: 'Betrachter', operator: 'Bediener', restorer: 'Wiederhersteller', admin: 'Admin' },
  roleMore: {
    viewer: 'Sieht alles außer Personen und Protokoll, ändert nichts.', operator: 'Bedient und bearbeitet, was Sicherungen macht.',
    restorer: 'Stellt wieder her und sieht, was wiederhergestellt werden kann.', admin: 'Alles, auch Personen und Schlüssel.',
  },
  right: { read: 'Lesen', operate: 'Bedienen', restore: 'Wiederherstellen', agents: 'Maschinen', users: 'Personen', audit: 'Protokoll', settings: 'Einstellungen' },
  rightMore: {
    read: 'Maschinen, Punkte, Pläne, Aufträge, Einstellungen und Ereignisse sehen', operate: 'Pläne bearbeiten, Aufträge starten und beenden', restore: 'Gesichertes lesen und zurückschreiben',
    agents: 'Repositorys hinzufügen, Maschinen aufnehmen und sperren', users: 'Konten anlegen, ändern und entfernen: so mächtig wie ein Admin', audit: 'Das Protokoll lesen und prüfen', settings: 'Einstellungen und Warnwege ändern',
  },
  logIn: {
    title: 'Anmelden', name: 'Name', password: 'Passwort', code: 'Einmalcode', codeMore: 'Aus Ihrer Authenticator-App oder ein Wiederherstellungscode', do: 'Anmelden', showPassword: 'Passwort zeigen oder verbergen',
    lost: 'Passwort verloren? Ein Admin kann Ihnen einen Einmal-Link geben; auf dem Server selbst: icecore-server admin log-in-link NAME.',
  },
  link: {
    firstTitle: 'Willkommen. Legen Sie das erste Konto an', title: 'Setzen Sie Ihr Passwort', firstLead: 'Dieser Link gilt einmal. Das Konto ist ein Admin: Es darf hier alles.', lead: 'Dieser Link gilt einmal. Danach melden Sie sich mit Ihrem Namen und diesem Passwort an.',
    nameMore: 'Kleinbuchstaben, Ziffern, „.“, „_“, „-“', password: 'Neues Passwort', passwordMore: 'Mindestens {{count}} Zeichen. Ein paar Wörter merken sich leichter als Sonderzeichen.', again: 'Das Passwort noch einmal', differs: 'Die beiden Passwörter sind verschieden',
    begin: 'Beginnen', do: 'Passwort setzen und anmelden', noneTitle: 'Dieser Link ist unvollständig', none: 'Das Geheimnis hinter dem # fehlt. Kopieren Sie die ganze Zeile, die der Server ausgegeben hat, oder lassen Sie sich einen neuen Link geben.', toLogIn: 'Zur Anmeldung',
  },
  strength: { 0: 'Zu kurz', 1: 'Schwach: leicht zu erraten', 2: 'Mittel', 3: 'Gut', 4: 'Stark' },
  nowhere: { title: 'Hier ist nichts', what: 'Unter dieser Adresse gibt es keine Seite.', next: 'Zur Übersicht' },
  overview: {
    title: 'Übersicht', verdict: 'Kann alles wiederhergestellt werden?', machines: 'Maschinen, letzte 30 Tage', alerts: 'Warnungen', allAlerts: 'Alle Warnungen', running: 'Läuft gerade', allJobs: 'Alle Aufträge', nothingRuns: 'Im Augenblick läuft nichts.',
    next: 'Als Nächstes', allowed: 'versprochen: höchstens {{age}}',
  },
  verdict: {
    none: 'Noch sichert hier keine Maschine.', noneMore: 'Die Schritte unten führen zur ersten Sicherung.',
    good_one: 'Die Maschine hat eine frische Sicherung.', good_other: 'Alle {{count}} Maschinen haben eine frische Sicherung.', goodMore: 'Jeder Plan hält, was er verspricht.', almost: 'Fast geschafft.', kits: 'Ein Notfallblatt fehlt.',
    bad_one: '{{count}} von {{all}} Maschinen hat keine frische Sicherung.', bad_other: '{{count}} von {{all}} Maschinen haben keine frische Sicherung.',
    unplanned_one: 'Eine Maschine hat keinen Plan.', unplanned_other: '{{count}} Maschinen haben keinen Plan.',
    waiting_one: 'Eine wartet auf ihre erste Sicherung.', waiting_other: '{{count}} warten auf ihre erste Sicherung.',
    kit_one: 'Das Notfallblatt von {{names}} ist nicht bestätigt: Geht die Passphrase verloren, ist jede Sicherung darin verloren.', kit_other: 'Die Notfallblätter von {{names}} sind nicht bestätigt: Geht eine Passphrase verloren, ist dort jede Sicherung verloren.', kitNext: 'Jetzt sichern',
  },
  steps: {
    title: 'Erste Schritte', done: 'erledigt', repository: 'Ein Repository hinzufügen', repositoryMore: 'Der Ort auf diesem Server, an dem Sicherungen verschlüsselt liegen.', repositoryDo: 'Hinzufügen',
    machine: 'Diese oder eine andere Maschine aufnehmen', machineMore: 'Eine Zeile, die dort ausgeführt wird; diese Seite merkt, wenn sie kommt.', machineDo: 'Aufnehmen', plan: 'Einen Plan machen', planMore: 'Platten wählen. Zeiten und Regeln sind sinnvoll vorbelegt.', planDo: 'Plan machen',
    kit: 'Das Notfallblatt sichern', kitMore: 'Ihr zweiter Schlüssel. Ohne ihn heißt verlorene Passphrase: verlorene Sicherungen.', kitDo: 'Sichern', backup: 'Jetzt sichern', backupMore: 'Den Plan einmal laufen lassen und zusehen.', backupDo: 'Sichern',
  },
  strip: {
    summary: '{{label}}, letzte {{days}} Tage: {{good}} gut, {{bad}} mit Fehlern, {{none}} ohne Sicherung', legend: 'Was die Farben bedeuten', legendGood: 'gut; kräftiger: mehr gespeichert', legend_mixed: 'gut und fehlgeschlagen', legend_bad: 'fehlgeschlagen', legend_none: 'keine Sicherung',
    none: 'keine Sicherung', before: 'noch nicht hier', good: 'gut', mixed: 'gut und fehlgeschlagen', bad: 'fehlgeschlagen', cancelled: 'abgebrochen', succeeded_one: 'eine Sicherung', succeeded_other: '{{count}} Sicherungen', failed_one: 'eine fehlgeschlagen', failed_other: '{{count}} fehlgeschlagen', stored: '{{size}} gespeichert',
  },
  machineState: { kept: 'Sicher', late: 'Zu spät', waiting: 'Wartet', paused: 'Pausiert', unplanned: 'Ohne Plan', keeper: 'Verwalter', none: 'Auf Wunsch' },
  machines: {
    title: 'Maschinen', lead: 'Alles, was hier Wiederherstellungspunkte ablegt.', machine: 'Maschine', add: 'Maschine aufnehmen', none: 'Noch keine Maschine', noneMore: 'Eine Maschine kommt durch eine Zeile hinzu, die Sie dort ausführen. Sie kann nur hinzufügen: Sie liest und löscht hier nichts.',
    name: 'Name', state: 'Zustand', lastGood: 'Letzte gute Sicherung', plans: 'Pläne', repository: 'Repository', seen: 'Zuletzt gesehen', revoked: 'Gesperrt', host: 'Rechnername', heard: 'Zuletzt gehört', version: 'Agent', limit: 'Tempolimit', noLimit: 'keines', quota: 'Kontingent', noQuota: 'keines',
    days: 'Letzte {{count}} Tage', disks: 'Platten', reported: 'Stand:', noDisks: 'Noch keine Platten bekannt', noDisksMore: 'Die Maschine nennt ihre Platten, sobald dort „icecore agent run“ läuft.', growth: 'Geändert und gespeichert', jobs: 'Aufträge',
    limits: 'Grenzen', limitsTitle: 'Grenzen von {{name}}', limitMore: 'Wie schnell sie senden darf; leer: so schnell es geht', quotaMore: 'Wie viel ihre Daten einnehmen dürfen; leer: so viel da ist',
    revoke: 'Sperren', revokeTitle: '{{name}} sperren?', revokeMore: 'Von da an wird nichts mehr angenommen, was sie sendet, und ihre Pläne machen keine Sicherungen. Ihre Wiederherstellungspunkte bleiben. Das lässt sich nicht zurücknehmen: Um wiederzukommen, wird die Maschine neu aufgenommen.',
  },
  growth: { stored: 'Gespeichert', changed: 'Geändert', label: 'Was die letzten {{count}} Sicherungen geändert und gespeichert haben' },
  changeMap: {
    title: 'Wo sie sich änderte', legend: 'Farben', depth1: 'unter 5 % einer Stelle', depth2: '5 bis 24 %', depth3: '25 bis 74 %', depth4: '75 % und mehr', last: 'letzte Sicherung', touched: 'Änderungen an {{count}} von {{all}} Stellen zu {{part}}',
    drawn_one: '{{name}}: wo sie sich in einer Sicherung änderte; {{last}}', drawn_other: '{{name}}: wo sie sich in den letzten {{count}} Sicherungen änderte; zuletzt {{last}}',
  },
  disk: { removable: 'entnehmbar', readOnly: 'nur lesbar', noPartitions: 'ohne Partitionen', drawn_one: '{{name}}: eine Partition', drawn_other: '{{name}}: {{count}} Partitionen' },
  enrol: {
    title: 'Eine Maschine aufnehmen', lead: 'Ein einmaliges Token lässt eine Maschine herein. Es gilt einen Tag.', who: 'Welche Maschine?', repository: 'Sie sichert in', name: 'Ihr Name hier', nameMore: 'Leer: Die Maschine nennt ihren eigenen', make: 'Zeile machen',
    noRepository: 'Es gibt noch kein Repository', noRepositoryMore: 'Eine Maschine braucht einen Ort, an den sie sichert.', run: 'Führen Sie diese Zeile auf der Maschine als root aus', runMore: 'Die Maschine braucht das Programm icecore. Sie prüft den Fingerabdruck dieses Servers, bevor sie etwas sendet.',
    local: 'Dieser Server hört nur auf diesem Rechner und ohne TLS: Die Zeile gilt hier und auf keiner anderen Maschine.', until: 'Gilt bis', wait: 'Warten auf die Maschine', comes: 'Die Maschine kommt mit dem Token', key: 'Sie bekommt einen Schlüssel zum Schreiben',
    keyMore: 'Die Maschine zeigt einen Code. Wer die Passphrase hat, führt diese Zeile irgendwo aus und tippt dort den Code ein; dieser Server sieht den Schlüssel nie.', ready: 'Sie ist bereit', done: '{{name}} ist da', plan: 'Einen Plan für sie machen', look: 'Ansehen',
    ended: 'Dieses Token ist abgelaufen. Machen Sie eine neue Zeile.', another: 'Eine neue Zeile machen',
  },
  enrolments: {
    title: 'Aufnahmen', none: 'Keine Aufnahmen', machine: 'Maschine', anyName: 'beliebiger Name', by: 'Von', until: 'Bis', revoke: 'Zurückziehen', open: 'Offen', waiting: 'Wartet auf Schlüssel', done: 'Erledigt', ended: 'Beendet',
    authority: 'Fingerabdruck dieses Servers', authorityMore: 'Maschinen und Personen vergleichen ihn, bevor sie diesem Server trauen. Dasselbe gibt aus: icecore-server admin fingerprint',
  },
  plans: {
    title: 'Pläne', lead: 'Was wann gesichert wird, und wie lange es bleibt.', plan: 'Plan', add: 'Plan machen', none: 'Noch keine Pläne', noneMore: 'Ein Plan sichert von selbst und sagt es, wenn er es nicht konnte.', noneHere: 'Noch kein Plan', noneHereMore: 'Von dieser Maschine wird nichts von selbst gesichert.',
    when: 'Wann', promise: 'Versprechen', lastGood: 'Zuletzt gut', lastJob: 'Letzter Auftrag', next: 'Nächster Lauf', load: 'Die kommende Woche: Pläne, die in jeder Stunde beginnen',
  },
  plan: {
    what: 'Was', keep: 'Wie lange es bleibt', more: 'Weitere Einstellungen', summary: 'Zusammenfassung', name: 'Name des Plans', nameMore: 'Auch die Wiederherstellungspunkte tragen ihn', newLead: 'Alles außer den Platten ist sinnvoll vorbelegt.', make: 'Plan machen', editTitle: '{{name}} bearbeiten',
    chooseMachine: 'Maschine wählen', disks: 'Platten', allDisks: 'Alle Platten', allDisksMore: 'Alle Platten, die die Maschine bei Beginn einer Sicherung hat, ohne entnehmbare', otherPath: 'Etwas anderes', otherPathMore: 'Ein logisches Volume oder eine Abbilddatei, mit ihrem Pfad auf der Maschine', addPath: 'Hinzufügen',
    sentence: 'Sichert {{disks}} von {{machine}},', nextRuns: 'Nächste Läufe:', lacks: 'Es fehlt noch', lacks_machine: 'Eine Maschine wählen', lacks_disks: 'Mindestens eine Platte wählen', lacks_path: 'Pfade beginnen mit /', lacks_name: 'Ein Name: Kleinbuchstaben, Ziffern, „.“, „_“, „-“', lacks_days: 'Mindestens einen Tag wählen',
    changed: 'Jemand anderes hat diesen Plan geändert', changedMore: 'Von Ihnen wurde noch nichts gespeichert. Sehen Sie sich die andere Fassung an, oder speichern Sie Ihre darüber.', takeTheirs: 'Andere Fassung zeigen', keepMine: 'Meine behalten, dann neu speichern',
    run: 'Jetzt sichern', edit: 'Bearbeiten', pause: 'Pausieren', resume: 'Fortsetzen', paused: 'pausiert', remove: 'Entfernen', removeTitle: '{{name}} entfernen?', removeMore: 'Er macht keine Sicherungen mehr. Seine Wiederherstellungspunkte und die Liste seiner Aufträge bleiben.',
    allowed: 'Höchstes Alter', keeps: 'Behält', retries: 'Weitere Versuche', retriesWords_one: 'ein weiterer Versuch', retriesWords_other: '{{count}} weitere Versuche', pauseS: 'Pause vor dem nächsten', limit: 'Höchstens lesen',
    usedOnly: 'Nur was Dateisysteme benutzen', usedOnlyMore: 'Lässt freien Platz aus; wiederhergestellte Platten haben dort Nullen', allowLive: 'Benutzte Platten auch ohne Schnappschuss sichern', allowLiveMore: 'Solche Punkte heißen für immer „nicht konsistent“',
    points: 'Wiederherstellungspunkte', asOf: 'Stand', in0: 'Jetzt', in1: 'In einem Tag', in7: 'Woche', in30: 'Monat', in365: 'Jahr', asOfMore: 'Was dann von den Punkten bliebe, die jetzt da sind.', noPoints: 'Noch keine Wiederherstellungspunkte', noPointsMore: 'Die erste Sicherung macht einen.',
    point: 'Punkt', received: 'Empfangen', fate: 'Schicksal', stays: 'Bleibt', goes: 'Darf gehen', why: 'Warum',
  },
  points: {
    title: 'Wiederherstellungspunkte', lead: 'Alles, was sich wiederherstellen lässt, das Neueste zuerst.', newest: 'Neueste Wiederherstellungspunkte', all: 'Alle Punkte', none: 'Keine Wiederherstellungspunkte', unnamed: 'Punkt', anyRepository: 'Jedes Repository', withForgotten: 'Auch aufgegebene', anySeries: 'Alle Reihen', state: 'Beweis', kind: 'Art', size: 'Größe', added: 'Hinzugekommen',
    count_one: 'Ein Wiederherstellungspunkt', count_other: '{{text}} Wiederherstellungspunkte', countMore: 'Die neuesten {{text}}; weitere kommen beim Scrollen.', provedLast: 'Der neueste, der ganz gelesen und bewiesen ist:', provedNone: 'Noch keiner davon wurde ganz gelesen und bewiesen.',
    made: 'So waren die Platten', consistency: 'Konsistenz', itsJob: 'die Sicherung, die ihn machte', series: 'Reihe', others: 'die anderen seiner Reihe', readFrom: 'Gelesen von', proof: 'Beweis', verified: 'Zuletzt geprüft', provedSince: 'Bewiesen seit', verify: 'Jetzt prüfen',
    provedMore: 'Jeder Chunk wurde gelesen, entschlüsselt und mit seiner Kennung verglichen. Eine Wiederherstellung liest dasselbe.', unprovedMore: 'Noch hat ihn niemand ganz gelesen. Der Verwalter des Repositorys tut es von selbst, bald nachdem ein Punkt ankam.', flawedMore: 'Er wurde gelesen, und ein Teil ist beschädigt oder fehlt.',
    isGone: 'Diesen Punkt gibt es nicht mehr', isGoneMore: 'Sein Platz wurde freigegeben:', isForgotten: 'Dieser Punkt wurde aufgegeben', isForgottenMore: 'Er lässt sich zurückholen bis', isFlawed: 'Ein Teil dieses Punkts lässt sich nicht wiederherstellen.', isFlawedMore: 'Die nächste Sicherung seiner Reihe liest alles und speichert neu, was die Platten noch haben.', isSuspect: 'Diesem Punkt fehlen vielleicht Änderungen', isSuspectMore: 'Die Liste der Änderungen, aus der er entstand, war unvollständig. Er lässt sich wiederherstellen; sicher ist das letzte vollständige Lesen davor.',
    notConsistentMore: 'Auf die Platte wurde geschrieben, während sie gelesen wurde. Dateisysteme darauf brauchen nach der Wiederherstellung vielleicht eine Reparatur.', noKeeper: 'Mehr über ihn weiß nur ein Verwalter', noKeeperMore: 'Name, Platten und Größen sind für diesen Server versiegelt. Der Verwalter des Repositorys nennt sie, sobald er nachgesehen hat:',
    byHand: 'Von Hand', byHandMore: 'Auf jeder Maschine, die das Repository erreicht, mit Passphrase oder Notfallblatt:', restore: 'Wiederherstellen', forget: 'Aufgeben', undo: 'Zurückholen', forgetTitle: '{{name}} aufgeben?', forgetMore: 'Er verschwindet aus der Liste dessen, was bleibt. Eine Woche lang lässt er sich zurückholen; danach wird sein Platz frei.', reason: 'Warum (für Menschen)',
  },
  pointState: { proved: 'Ganz bewiesen', unproved: 'Noch nicht bewiesen', suspect: 'Vielleicht unvollständig', flawed: 'Beschädigt', forgotten: 'Aufgegeben', gone: 'Gelöscht' },
  pointKind: { full: 'Voll', full_read: 'Ganz gelesen', incremental: 'Inkrementell' },
  consistency: { offline: 'Nicht benutzt', crash_consistent: 'Wie nach einem Stromausfall', application_consistent: 'Mit den Anwendungen abgestimmt', not_consistent: 'Nicht konsistent' },
  restore: {
    title: 'Wiederherstellen', lead: 'Vor dem letzten Schritt wird nichts geschrieben.', mayNot: 'Sie dürfen nachsehen, aber nicht wiederherstellen', mayNotMore: 'Dazu braucht es die Rolle Wiederhersteller oder Admin.', when: 'Wann', what: 'Was', where: 'Wohin', go: 'Nachsehen, dann wiederherstellen', another: 'Ein anderer Punkt', forgotten: 'Er lässt sich wiederherstellen, solange sein Platz nicht freigegeben ist.', machine: 'Von welcher Maschine', choose: 'Wählen', chooseOf: '{{name}} wählen',
    what_disk: 'Ganze Platte', what_partition: 'Eine Partition', what_files: 'Dateien', what_image: 'Abbild', more_disk: 'Jedes Byte der Platte, auf ein Gerät oder in eine Abbilddatei.', more_partition: 'Eine Partition, auf eine mindestens so große Partition oder in eine Abbilddatei.', more_files: 'Dateien und Verzeichnisse mit Besitzern, Zeiten und Attributen, in ein Verzeichnis oder zurück an ihren Platz. Aus Dateisystemen, die hier gelesen werden; aus anderen mit icecore mount.', more_image: 'Die Platte als Abbild, von dem eine virtuelle Maschine startet.',
    disk: 'Platte', partition: 'Nummer der Partition', partitionMore: 'Wie die Partitionstabelle zählt; die Zeile unten nennt sie', partitionOf: 'Partition', partitionOfMore: 'Leer: die einzige mit Dateien', format: 'Format', format_qcow2: 'qcow2, für QEMU und KVM', format_vmdk: 'vmdk, für VMware', files: 'Dateien und Verzeichnisse', filesMore: 'Ein Pfad je Zeile, / für alles', listing: 'Nennt Platten, Partitionen und Dateien',
    noKeeper: 'Niemand verwaltet {{name}}, darum kann von hier aus niemand wiederherstellen', writer: 'Geschrieben von', writerKeeper: 'Dem Rechner des Verwalters', targetThere: 'Ein Pfad auf jenem Rechner, wo sein Agent Wiederherstellungen erlaubt', consents: 'Zwei Befehlszeilen müssen es erlauben, die des Verwalters und die von {{name}}', consentsMore: 'Das sagt, wer sie betreibt; dieser Server kann es nicht. Unterwegs ist alles für jenen Rechner versiegelt. Ein Probelauf zeigt, ob beide es tun.', consentKeeper: 'Auf dem Rechner des Verwalters', consentMachine: 'Auf {{name}}', target: 'Wohin', targetDirectory: 'In das Verzeichnis', targetMore: 'Ein Pfad auf der Maschine, die das Repository verwaltet, wo ihr Verwalter Wiederherstellungen erlaubt (icecore agent run --restore-to)', targetWrong: 'Ein Pfad beginnt mit /', overwrite: 'Ersetzen, was dort ist', overwriteMore: 'Sonst wird ein Ziel abgelehnt, das nicht leer ist',
    delta: 'Nur schreiben, was abweicht', deltaMore: 'Liest zuerst das Ziel; schnell, wo das meiste schon stimmt', elsewhere: 'Auf jede andere Maschine, dort ausgeführt, mit Passphrase oder Notfallblatt:', lacks_point: 'Wählen Sie einen Punkt.', lacks_disk: 'Wählen Sie eine Platte.', lacks_partition: 'Nennen Sie die Partition.', lacks_files: 'Nennen Sie Dateien; ihre Pfade beginnen mit /.', lacks_target: 'Sagen Sie, wohin.',
    intoDirectory: 'In ein Verzeichnis', back: 'Zurück an ihren Platz', backMore: 'In das Dateisystem, in dem sie waren, wo immer es auf dem Rechner jetzt eingehängt ist. Zurück gehen nur Punkte, die der Rechner selbst gemacht hat, und nur unter Verzeichnisse, die sein Agent erlaubt.', wherePlace: 'an ihren Platz', away: '{{name}} · antwortet nicht',
    existing: 'Vorhandene Dateien', existing_beside: 'Behalten, daneben wiederherstellen', existing_skip: 'Behalten, diese auslassen', existing_overwrite: 'Ersetzen', existingMore_beside: 'Was abweicht, bekommt einen neuen Namen: NAME.restored-DATUM', existingMore_skip: 'Nur was fehlt, wird wiederhergestellt', existingMore_overwrite: 'Jede wird auf einmal ersetzt, wenn die wiederhergestellte ganz ist', replaces: 'Vorhandene Dateien werden ersetzt', trialFiles: 'Ein Probelauf zählt Dateien, Bytes und was schon da ist, und schreibt nichts. Er zeigt, ob beide Befehlszeilen es erlauben.',
    trial: 'Probelauf', trialAgain: 'Noch ein Probelauf', trialMore: 'Ein Probelauf liest und zählt und schreibt nichts: was geschrieben würde, und ob das Ziel frei, groß genug und erlaubt ist.', destroys: 'Was auf {{target}} ist, geht verloren', destroysMore: 'Es gibt kein Zurück. Sehen Sie zweimal hin, ob es das richtige Ziel ist.', do: 'Wiederherstellen', confirm: '{{name}} nach {{target}} wiederherstellen?',
  },
  files: {
    title: 'Dateien', volume: 'Dateisystem', choose: 'Eines wählen', unknown: 'unbekannt', mayNot: 'Sie dürfen nicht in Sicherungen sehen', notYet: 'Dateien lassen sich hier noch nicht ansehen ({{held}})', notYetMore: 'Hier wird kein Dateisystem dieses Punkts gelesen. Der Kernel liest jedes Dateisystem eines eingehängten Punkts; ganze Platten, Partitionen und Abbilder stellen wieder her, was immer sie enthalten.', mount: 'Einhängen', restore: 'Dieses Verzeichnis wiederherstellen', restoreFile: 'Wiederherstellen', restoreChosen_one: 'Ein ausgewähltes wiederherstellen', restoreChosen_other: '{{count}} ausgewählte wiederherstellen', state: 'Zustand dieses {{name}}',
    empty: 'Ein leeres Verzeichnis', modified: 'Geändert', owner: 'Besitzer', mode: 'Rechte', count_one: 'Ein Eintrag', count_other: '{{text}} Einträge', damaged: 'beschädigt', path: 'Pfad', root: 'Wurzel', download: 'Herunterladen', downloadAs: 'Als {{format}} herunterladen', downloadAll: 'Dieses Verzeichnis herunterladen', noPreview: 'Von dieser Art Datei gibt es keine Vorschau.', emptyFile: 'Die Datei ist leer.', cut: 'Nur die ersten {{size}} werden gezeigt.',
    search: 'Nach Dateien suchen', searchMore: 'Teil eines Namens, oder *.conf', find: 'Suchen', foundOf: 'Dateien wie {{name}}, in allen Wiederherstellungspunkten dieses Namens', foundNone: 'Kein durchsuchter Wiederherstellungspunkt hat eine solche Datei', foundMore: 'Weiter suchen', versions: 'Fassungen', versionsNone: 'Kein durchsuchter Wiederherstellungspunkt hat diese Datei', inPoints: 'In Punkten', newestPoint: 'Neuester Punkt',
    missing_one: 'Ein Wiederherstellungspunkt ist nicht durchsucht, oder nicht ganz', missing_other: '{{text}} Wiederherstellungspunkte sind nicht durchsucht, oder nicht ganz', missingMore: 'Der Verwalter listet die Dateien neuer Punkte nacheinander; Dateisysteme, die hier nicht gelesen werden, stehen in keiner Liste.',
  },
  restored: {
    length: 'Länge', written: 'Daten geschrieben', zeroed: 'Nullen geschrieben', unchanged: 'Stimmte schon', wouldWrite: 'Zu schreibende Daten', wouldZero: 'Zu schreibende Nullen', files: 'Dateien und Verzeichnisse', replaced: 'Haben andere ersetzt', beside: 'Neben anderen', skipped: 'Ausgelassen', incomplete: 'Ohne alle Metadaten', trialDone: 'Es würde gelingen', onlyLooked: 'Es wurde nur nachgesehen und nichts geschrieben.', same: 'Gleich', sameMore: 'Jedes Byte am Ziel ist das des Punkts.', differs: 'Verschieden', differsMore: '{{size}} weichen vom Punkt ab.',
    check: 'Mit dem Punkt vergleichen', checkMore: 'Liest, was geschrieben wurde, und vergleicht es Byte für Byte. Geschrieben wird nichts.',
  },
  kept: {
    title: 'Was daraus wurde', whole: 'Alles heil', damage: 'Schäden gefunden', errors_one: 'Ein Fehler', errors_other: '{{count}} Fehler', packs: 'Ganz gelesene Packs', packsFound: 'Packs', chunks: 'Geöffnete Chunks', further: 'und {{count}} weitere', givenUp: 'Aufgegebene Punkte', deleted: 'Gelöschte Punkte', freed: 'Frei geworden', condemned: 'Wird später frei', live: 'Von Punkten gebraucht', dead: 'Tot, Umschreiben lohnt nicht', canUndo: 'Lässt sich zurückholen bis', takenBack: 'Zurückgeholt.',
  },
  keeping: {
    keeper: 'Verwaltet von', nobody: 'niemandem', none: 'Niemand verwaltet dieses Repository', noneMore: 'Prüfen, Platz schaffen und von hier aus wiederherstellen braucht seinen Schlüssel, den dieser Server nicht hat. Sein Verwalter hat ihn: Führen Sie diese Zeile auf der Maschine des Servers aus und dann die, die sie ausgibt.', byItself: 'Sein Verwalter prüft, was ankommt, sieht es wöchentlich durch und schafft täglich Platz.', check: 'Jetzt durchsehen', prune: 'Was frei würde', verifications: 'Prüfungen',
  },
  rhythm: {
    asked: 'nur auf Wunsch', hours_one: 'jede Stunde zur Minute {{minute}}', hours_other: 'alle {{count}} Stunden zur Minute {{minute}}', daily: 'täglich um {{at}}', weekly: '{{days}} um {{at}}',
    kind_daily: 'Täglich', kind_hours: 'Stündlich', kind_weekly: 'Wöchentlich', kind_cron: 'Cron', kind_asked: 'Auf Wunsch', every: 'Wie oft', everyHours_one: 'jede Stunde', everyHours_other: 'alle {{count}} Stunden', at: 'Um', cron: 'Cron-Ausdruck', cronMore: 'Minute, Stunde, Tag, Monat, Wochentag',
    wrong: 'Dieser Ausdruck hat keinen nächsten Lauf', zone: 'Zeitzone', jitter: 'Streuung', jitterMore: 'Läufe beginnen bis zu so viel später', days: 'Tage', catchUp: 'Verpassten Lauf nachholen', catchUpMore: 'Einmal, wie viele der Server auch verschlafen hat',
  },
  keep: {
    all: 'Behält jeden Wiederherstellungspunkt', words: 'Behält {{list}}', hourly: 'Stunden', daily: 'Tage', weekly: 'Wochen', monthly: 'Monate', quarterly: 'Quartale', yearly: 'Jahre', last: 'Neueste', minimum: 'Mindestens',
    hourlyWords_one: 'einen stündlichen', hourlyWords_other: '{{count}} stündliche', dailyWords_one: 'einen täglichen', dailyWords_other: '{{count}} tägliche', weeklyWords_one: 'einen wöchentlichen', weeklyWords_other: '{{count}} wöchentliche', monthlyWords_one: 'einen monatlichen', monthlyWords_other: '{{count}} monatliche',
    quarterlyWords_one: 'einen je Quartal', quarterlyWords_other: '{{count}} je Quartal', yearlyWords_one: 'einen jährlichen', yearlyWords_other: '{{count}} jährliche', lastWords_one: 'den neuesten', lastWords_other: 'die {{count}} neuesten', withinWords: 'alle der letzten {{span}}', withinStays: 'Und alle der letzten {{span}}, wie es eingestellt war.',
  },
  simulator: {
    title: 'Was Sie haben werden', asked: 'Ein Plan, der nur auf Wunsch läuft, hat keinen Kalender, auf dem man vorausschauen könnte.', wrong: 'Ohne nächsten Lauf gibt es nichts zu zeigen.', sentence_one: '{{when}} gibt es einen Wiederherstellungspunkt von {{made}} gemachten.', sentence_other: '{{when}} gibt es {{count}} Wiederherstellungspunkte von {{made}} gemachten.',
    oldest: 'Der älteste ist von {{day}}.', size: 'Etwa {{size}}, nach {{count}} Sicherungen bisher zu urteilen.', noSizes: 'Wie viel Platz das braucht, lässt sich nach drei Sicherungen sagen.', verified: 'Nichts wird aufgegeben, bevor ein späterer Punkt geprüft wurde; es können also mehr sein.', drawn: '{{count}} Wiederherstellungspunkte als Schichten, jetzt ist links', ahead: 'Wie weit voraus',
    in1: 'In einem Tag', in7: 'In einer Woche', in30: 'In einem Monat', in90: 'In drei Monaten', in180: 'In einem halben Jahr', in365: 'In einem Jahr', mark1: '1 T', mark7: '1 W', mark30: '1 M', mark90: '3 M', mark180: '6 M', mark365: '1 J',
  },
  jobs: {
    title: 'Aufträge', lead: 'Jeder ein Lauf von etwas Langem, der neueste zuerst.', job: 'Auftrag', none: 'Keine Aufträge', noneMore: 'Nichts passt zu diesen Filtern.', more: 'Mehr zeigen', anyState: 'Jeder Zustand', anyMachine: 'Jede Maschine', anyPlan: 'Jeder Plan', anyKind: 'Jede Art', kind: 'Art', began: 'Begonnen', took: 'Dauer', read: 'Gelesen', stored: 'Gespeichert',
  },
  jobState: { queued: 'Wartet', running: 'Läuft', succeeded: 'Gelungen', failed: 'Fehlgeschlagen', cancelled: 'Abgebrochen' },
  jobKind: { backup: 'Sicherung', restore: 'Wiederherstellung', verify: 'Prüfung', check: 'Durchsicht', prune: 'Aufräumen', forget: 'Aufgeben', copy: 'Kopie der Datenbank' },
  jobCause: { calendar: 'den Kalender', after: 'einen anderen Plan', person: 'eine Person', received: 'einen Punkt, der ankam' },
  job: {
    title: '{{kind}} {{plan}}', cancelling: 'Wird beendet', warnings: 'Gut zu wissen', waits: 'Wartet darauf, dass seine Maschine ihn aufnimmt.', waitsUntil: 'Wartet auf den nächsten Versuch', course: 'Verlauf', progress: 'Fortschritt', failure: 'Warum er fehlschlug', cause: 'Ursache', fix: 'Was zu tun ist',
    attempt: 'Versuch', attemptOf: '{{attempt}} von {{of}}', comes: 'ein weiterer Versuch folgt von selbst', point: 'Wiederherstellungspunkt', source: 'Größe der Platten', changed: 'Geändert', provider: 'Stillgehalten durch', fullRead: 'Alles wurde gelesen: {{reason}}.', restoreHint: 'Auf jeder Maschine wiederherstellen:',
    facts: 'Fakten', causeOf: 'Gemacht durch', due: 'Fällig', ended: 'Beendet', readSoFar: 'Bisher gelesen', zero: 'Davon Nullen', known: 'Schon bekannt', new: 'Neu', cancel: 'Auftrag abbrechen', retry: 'Noch einmal', log: 'Protokoll', noLog: 'Noch wurde nichts festgehalten.', search: 'Protokoll durchsuchen',
  },
  provider: { module: 'das Kernelmodul', lvm: 'LVM', direct: 'niemanden' },
  stage: { open: 'Öffnen', comparing: 'Nachsehen', export: 'Abbild', snapshot: 'Schnappschuss', index: 'Index', backup: 'Lesen und speichern', commit: 'Abschluss', restore: 'Wiederherstellen', check: 'Durchsicht', prune: 'Aufräumen', verify: 'Prüfen' },
  share: { read: 'Lesen', limit: 'Grenze', hash: 'Hashen', known: 'Nachschlagen', compress: 'Packen', store: 'Speichern' },
  bottleneck: {
    read: 'Wartet meist auf die Platte ({{percent}} %).', limit: 'Wird meist von der Grenze des Plans gebremst ({{percent}} %).', hash: 'Hasht meist ({{percent}} %): Der Prozessor bestimmt das Tempo.', known: 'Schlägt meist Chunks nach ({{percent}} %).',
    compress: 'Packt meist ({{percent}} %): Der Prozessor bestimmt das Tempo.', store: 'Wartet meist auf das Speichern ({{percent}} %): Netz oder Repository bestimmen das Tempo.',
  },
  repositories: {
    title: 'Repositorys', lead: 'Wo die Sicherungen liegen. Dieser Server verwahrt sie und hat keinen Schlüssel dazu.', add: 'Repository hinzufügen', addIt: 'Hinzufügen', wasAdded: 'Das Repository wurde hinzugefügt.', none: 'Noch kein Repository', noneMore: 'Machen Sie eines mit icecore init auf diesem Server, auf einer anderen Platte als den gesicherten, und fügen Sie es hier hinzu.',
    directory: 'Verzeichnis', directoryMore: 'Auf dem Server, ein absoluter Pfad; am besten auf einer eigenen Platte', machines: 'Maschinen', added: 'Hinzugefügt', id: 'Kennung', url: 'Für die Kommandozeile', name: 'Name', nameMore: 'Kleinbuchstaben, Ziffern und „-“; Teil seiner Adresse', init: 'Ist es noch nicht da, legen Sie es auf dem Server an, als der Benutzer, unter dem der Server läuft. Wählen Sie eine gute Passphrase: Ohne sie kann niemand wiederherstellen.',
    maintain: 'Neben dem Repository prüft es und schafft Platz, wer die Passphrase hat:',
  },
  kit: {
    safe: 'Notfallblatt sicher', unsafe: 'Notfallblatt nicht bestätigt', title: 'Das Notfallblatt sichern', more: 'Das Blatt öffnet jede Sicherung in diesem Repository, wenn die Passphrase verloren ist. Führen Sie diese Zeile auf dem Server aus, drucken Sie das Ergebnis, bewahren Sie es woanders auf, und löschen Sie die Datei.',
    digits: 'Die letzten sechs Ziffern der Zeile „repository:“', digitsMore: 'Vom gedruckten Blatt in Ihrer Hand, zum Zeichen, dass es da ist', confirm: 'Das Blatt ist an einem sicheren Ort', confirmed: 'Das Notfallblatt ist bestätigt.', confirmedBy: '{{name}} hat bestätigt, dass das Notfallblatt sicher ist:',
  },
  alerts: { title: 'Warnungen', lead: 'Was sich jemand ansehen muss. Eine Warnung dauert, bis ihre Ursache vorbei ist.', list: 'Warnungen', show: 'Welche', lasting: 'Andauernd', all: 'Alle', none: 'Alles ruhig', noneMore: 'Nichts braucht Aufmerksamkeit.', never: 'Es gab noch keine Warnung', over: 'vorbei' },
  alertKind: {
    job_failed: 'Auftrag fehlgeschlagen', plan_late: 'Keine gute Sicherung', plan_paused: 'Plan lange angehalten', agent_silent: 'Maschine schweigt', agent_suspended: 'Maschine ausgesetzt', repository: 'Repository', server: 'Server',
  },
  channels: {
    title: 'Wem es gesagt wird', add: 'Weg hinzufügen', addIt: 'Hinzufügen', wasAdded: 'Der Weg wurde hinzugefügt.', none: 'Niemandem wird es gesagt', noneMore: 'Fügen Sie eine Mailadresse oder einen Webhook hinzu, und probieren Sie ihn aus.', fails: 'Klappt nicht', on: 'An', off: 'Aus', disable: 'Ausschalten', enable: 'Einschalten', actionsOf: 'Mehr: {{name}}',
    remove: 'Entfernen', removeTitle: '{{name}} entfernen?', removeMore: 'Dorthin gehen keine Warnungen mehr.', allKinds: 'Alle Arten', lastSent: 'zuletzt gesendet', test: 'Probe senden', tested: 'Die Probe wurde angenommen.', kind: 'Art', mail: 'Mail', webhook: 'Webhook', name: 'Name', url: 'Adresse', urlMore: 'Bekommt für jede Nachricht einen signierten POST',
    host: 'Mailserver', port: 'Port', encryption: 'Verschlüsselung', user: 'Benutzer', password: 'Passwort', from: 'Absender', to: 'Empfänger', toMore: 'Nach jedem die Eingabetaste', kinds: 'Welche Warnungen', secret: 'Dieses Geheimnis signiert, was dorthin gesendet wird. Es wird einmal gezeigt.', secretLabel: 'Geheimnis des Webhooks',
  },
  encryption: { starttls: 'STARTTLS', tls: 'TLS', off: 'keine' },
  security: { title: 'Sicherheit', lead: 'Wer was darf, und was getan wurde.', people: 'Personen', enrolments: 'Aufnahmen', audit: 'Protokoll' },
  people: {
    title: 'Personen', add: 'Person hinzufügen', addIt: 'Hinzufügen', role: 'Rolle', totp: 'Authenticator', yes: 'ja', no: 'nein', lastLogIn: 'Letzte Anmeldung', actions: 'Aktionen', actionsOf: 'Mehr: {{name}}', shut: 'Ausgesperrt', active: 'Aktiv', invited: 'Eingeladen', link: 'Neuer Einmal-Link', linkTitle: 'Einmal-Link',
    linkMore: 'Geben Sie diesen Link der Person und niemandem sonst: Er setzt das Passwort und meldet an. Er wird einmal gezeigt.', endSessions: 'Alle Sitzungen beenden', makeRole: 'Zu {{role}} machen', doShut: 'Aussperren', open: 'Wieder einlassen', remove: 'Entfernen', removeTitle: '{{name}} entfernen?', removeMore: 'Sitzungen und Token enden sofort. Was die Person getan hat, bleibt im Protokoll.',
  },
  audit: {
    title: 'Was getan wurde', number: 'Nr.', when: 'Wann', who: 'Wer', what: 'Was', detail: 'Näheres', from: 'Von', outcome: 'Ausgang', done: 'Getan', refused: 'Verweigert', verifyTitle: 'Ist das Protokoll unversehrt?', verifyMore: 'Der Hash jedes Eintrags schließt den davor ein. Wer die Datei schreiben kann, könnte sie ganz neu schreiben; das findet nur ein Kopf, den Sie woanders notiert haben.',
    noted: 'Ein Kopf, den Sie notiert haben', notedMore: 'NUMMER:HASH, die Sie notiert haben, oder nichts', notedWrong: 'Ein Kopf ist eine Nummer, ein Doppelpunkt und 64 Ziffern', verify: 'Prüfen', intact: 'Unversehrt', broken: 'Beschädigt', entries_one: '{{text}} Eintrag', entries_other: '{{text}} Einträge', head: 'Kopf, woanders zu notieren',
  },
  settings: {
    title: 'Einstellungen', lead: 'Was gilt, während der Server läuft. Was er zum Starten braucht, steht in seiner Konfigurationsdatei.', server: 'Dieser Server', name: 'Name der Appliance', nameMore: 'Wie man sie nennt, in Warnungen und hier', idle: 'Eine Sitzung endet, wenn sie unbenutzt ist für', idleMore: '5 Minuten bis 30 Tage', lifetime: 'Eine Sitzung endet auf jeden Fall nach', lifetimeMore: 'Bis zu 90 Tage', link: 'Einmal-Links gelten', linkMore: 'Bis zu 7 Tage',
    health: 'Wie es ihm geht', version: 'Version', since: 'Gestartet', clock: 'Seine Uhr', database: 'Datenbank', databaseVersion: 'Struktur',
  },
  account: {
    title: 'Konto', lead: '{{name}}, {{role}}', password: 'Passwort', current: 'Bisheriges Passwort', fresh: 'Neues Passwort', change: 'Passwort ändern', passwordChanged: 'Das Passwort wurde geändert; alle anderen Sitzungen sind beendet.', sessions: 'Wo Sie angemeldet sind', browser: 'Browser', address: 'Adresse', since: 'Seit', seen: 'Zuletzt benutzt', here: 'Diese', end: 'Beenden',
  },
  totp: {
    title: 'Authenticator', more: 'Ein zweiter Beweis neben dem Passwort: ein Code, der sich jede halbe Minute ändert.', password: 'Ihr Passwort', set: 'Einrichten', remove: 'Entfernen', removed: 'Der Authenticator wurde entfernt.', scan: 'Scannen Sie dies mit Ihrer Authenticator-App, und tippen Sie dann den Code ein, den sie zeigt.', qr: 'QR-Code für den Authenticator', type: 'Oder tippen Sie dieses Geheimnis ein:', secret: 'Geheimnis',
    confirm: 'Bestätigen', bound: 'Der Authenticator gilt von jetzt an.', codes: 'Wiederherstellungscodes für den Tag, an dem der Authenticator verloren ist. Jeder gilt einmal; sie werden einmal gezeigt.', codesLabel: 'Wiederherstellungscodes', kept: 'Ich verwahre sie an einem sicheren Ort',
  },
  tokens: {
    title: 'Token', add: 'Token machen', none: 'Keine Token', noneMore: 'Skripte melden sich mit einem Token an: mit eigenen Rechten, nie mehr als Ihren.', name: 'Wofür', nameMore: 'Damit Sie es später wiedererkennen', prefix: 'Beginnt mit', rights: 'Rechte', used: 'Zuletzt benutzt', ends: 'Endet', days_one: 'in einem Tag', days_other: 'in {{count}} Tagen', make: 'Token machen',
    revoke: 'Zurückziehen', revokeOf: '{{name}} zurückziehen', revoked: 'Das Token wurde zurückgezogen.', once: 'Dies ist das Token. Es wird einmal gezeigt: Kopieren Sie es jetzt.', secret: 'Token',
  },
  explorer: { title: 'API', lead: 'Alles, was diese Seite kann, können auch Skripte.', search: 'Suchen: jobs, POST, settings …', none: 'Kein Aufruf passt.', body: 'Inhalt:' },
};
