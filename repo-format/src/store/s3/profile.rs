//! The AWS tools' files of profiles, `~/.aws/config` and `~/.aws/credentials`: what of them says where the store is and who we are.

use std::collections::HashMap;

/// Settings of one profile, by their names in the files.
#[derive(Default)]
pub(super) struct Profile(HashMap<String, String>);

impl Profile {
    /// A setting that is there and not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Enters the settings of the profile `name` in a file, which win over those entered before. Returns whether the file has the profile.
    /// In `config` sections are named `profile NAME`, in `credentials` `NAME`; `default` is named alone in both.
    pub(super) fn enter(&mut self, file: &str, name: &str) -> bool {
        let (mut is_ours, mut is_there) = (false, false);
        for line in file.lines() {
            // An indented line is a part of the setting above it, as those below `s3 =` are; none of them is wanted here.
            if line.starts_with([' ', '\t', '#', ';']) {
                continue;
            }
            if let Some(section) = line.trim_end().strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                let section = section.0.trim();
                is_ours = section == name || section.strip_prefix("profile").map(str::trim) == Some(name);
                is_there |= is_ours;
            } else if let Some((setting, value)) = line.split_once('=').filter(|_| is_ours) {
                self.0.insert(setting.trim().to_lowercase(), value.trim().to_owned());
            }
        }
        is_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_come_from_both_files_and_from_one_profile_alone() {
        let config = "[default]\nregion = us-east-2\n\n[profile nas]\nregion=garage\nendpoint_url = http://127.0.0.1:3900\ns3 =\n  region = not-this\n# c\n";
        let credentials =
            "[default]\naws_access_key_id = A\n[nas]\naws_access_key_id = B = b\r\naws_secret_access_key=\n";
        let mut profile = Profile::default();
        assert!(profile.enter(config, "nas") && profile.enter(credentials, "nas"));
        assert_eq!(profile.get("region"), Some("garage"));
        assert_eq!(profile.get("endpoint_url"), Some("http://127.0.0.1:3900"));
        assert_eq!(profile.get("aws_access_key_id"), Some("B = b"));
        assert_eq!(profile.get("aws_secret_access_key"), None);
        assert!(!Profile::default().enter(config, "na"));
    }
}
