//! Machines as directory trees: what counts as protected, and what an installation changes.

use super::{Machine, RULES, RULES_NAME, State, Unprotected, install, look, require};
use anyhow::Result;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

struct Scene {
    dir: tempfile::TempDir,
    machine: Machine,
}

/// LVM as far as it matters here: what stands in lvmlocal.conf behind the name of the setting.
fn read_setting(root: &Path, setting: &str) -> Result<Option<String>> {
    let name = setting.rsplit('/').next().unwrap();
    let text = fs::read_to_string(root.join("etc/lvm/lvmlocal.conf")).unwrap_or_default();
    let line = text.lines().map(str::trim).find(|line| line.starts_with(name));
    Ok(line.map(|line| line.replace(' ', "")))
}

impl Scene {
    /// A machine with udev, without LVM, without rules.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let machine = Machine { root: dir.path().to_owned(), lvm_setting: read_setting };
        let scene = Self { dir, machine };
        scene.file("run/udev/control", "");
        scene
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.dir.path().join(path)).unwrap()
    }

    fn states(&self) -> Vec<State> {
        look(&self.machine).unwrap().into_iter().map(|part| part.state).collect()
    }
}

#[test]
fn a_machine_without_udev_needs_nothing() {
    let scene = Scene::new();
    fs::remove_file(scene.dir.path().join("run/udev/control")).unwrap();
    scene.file("usr/sbin/lvm", "");
    assert!(require(&scene.machine).is_ok());
    assert!(install(&scene.machine, false).unwrap().is_empty());
}

#[test]
fn a_machine_without_the_rules_is_refused_and_told_the_verb() {
    let scene = Scene::new();
    let error = require(&scene.machine).unwrap_err();
    assert!(error.is::<Unprotected>() && error.to_string().contains("icecore tracker install-rules"), "{error}");
}

#[test]
fn the_rules_count_in_every_directory_of_udev() {
    for directory in super::RULES_DIRECTORIES {
        let scene = Scene::new();
        scene.file(&format!("{}/{RULES_NAME}", &directory[1..]), RULES);
        assert!(require(&scene.machine).is_ok(), "{directory}");
    }
}

#[test]
fn rules_that_are_masked_old_or_overridden_do_not_count() {
    let scene = Scene::new();
    scene.file(&format!("usr/lib/udev/rules.d/{RULES_NAME}"), RULES);
    let masked = scene.dir.path().join("etc/udev/rules.d").join(RULES_NAME);
    fs::create_dir_all(masked.parent().unwrap()).unwrap();
    symlink("/dev/null", &masked).unwrap();
    assert!(matches!(&scene.states()[0], State::Missing(_)));
    fs::remove_file(&masked).unwrap();
    fs::write(&masked, RULES.replace("ENV{SYSTEMD_READY}=\"0\"\n", "")).unwrap();
    assert!(matches!(&scene.states()[0], State::Missing(why) if why.contains("SYSTEMD_READY")));
    fs::write(&masked, format!("# mine\n{RULES}\nKERNEL==\"x\", OPTIONS+=\"watch\"\n")).unwrap();
    assert!(matches!(&scene.states()[0], State::InPlace(_)), "more lines are a person's business");
}

#[test]
fn an_installation_puts_everything_in_place_and_keeps_what_was_there() {
    let scene = Scene::new();
    scene.file("usr/sbin/lvm", "");
    scene.file("etc/lvm/lvmlocal.conf", "local {\n}");
    let planned = install(&scene.machine, true).unwrap();
    assert_eq!(planned.len(), 2);
    assert!(require(&scene.machine).is_err(), "a dry run changes nothing");
    assert_eq!(install(&scene.machine, false).unwrap(), planned);
    assert!(require(&scene.machine).is_ok());
    assert!(scene.read("etc/lvm/lvmlocal.conf").starts_with("local {\n}\n\n#"));
    assert!(install(&scene.machine, false).unwrap().is_empty(), "nothing is done twice");
}

#[test]
fn a_filter_of_a_person_is_not_touched() {
    let scene = Scene::new();
    scene.file("usr/sbin/lvm", "");
    scene.file("etc/lvm/lvmlocal.conf", "devices {\n global_filter = [ \"a|.*|\" ]\n}\n");
    let before = scene.read("etc/lvm/lvmlocal.conf");
    let error = install(&scene.machine, false).unwrap_err();
    assert!(error.to_string().contains("first in its list"), "{error}");
    assert_eq!(scene.read("etc/lvm/lvmlocal.conf"), before);
}

#[test]
fn a_list_of_devices_protects_from_images_too() {
    let scene = Scene::new();
    scene.file("usr/sbin/lvm", "");
    scene.file("etc/lvm/lvmlocal.conf", "use_devicesfile = 1\n");
    assert!(matches!(scene.states()[1], State::Missing(_)), "the list must be there, too");
    scene.file("etc/lvm/devices/system.devices", "");
    assert!(matches!(scene.states()[1], State::InPlace(_)));
}
