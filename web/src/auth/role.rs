//! The one table of roles and rights.

use web_api::role::{Right, Role};

/// Who may what. Columns in the order of `Role::ALL`.
#[rustfmt::skip]
const TABLE: [(Right, [bool; 4]); 7] = [
    //                 viewer  operator restorer admin
    (Right::Read,     [true,   true,    true,    true]),
    (Right::Operate,  [false,  true,    false,   true]),
    (Right::Restore,  [false,  false,   true,    true]),
    (Right::Agents,   [false,  false,   false,   true]),
    (Right::Users,    [false,  false,   false,   true]),
    (Right::Audit,    [false,  false,   false,   true]),
    (Right::Settings, [false,  false,   false,   true]),
];

/// Whether a role includes a right.
pub fn includes(role: Role, right: Right) -> bool {
    let column = Role::ALL.iter().position(|known| *known == role);
    let row = TABLE.iter().find(|(known, _)| *known == right);
    column.zip(row).is_some_and(|(column, (_, roles))| roles[column])
}

/// All rights of a role.
pub fn rights(role: Role) -> Vec<Right> {
    Right::ALL.iter().copied().filter(|right| includes(role, *right)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_row_for_every_right_and_a_column_for_every_role() {
        assert_eq!(TABLE.map(|(right, _)| right).as_slice(), Right::ALL);
        assert_eq!(Role::ALL.len(), TABLE[0].1.len());
    }

    #[test]
    fn an_admin_may_everything_and_nobody_else_manages_people() {
        for right in Right::ALL {
            assert!(includes(Role::Admin, *right));
        }
        for role in [Role::Viewer, Role::Operator, Role::Restorer] {
            assert!(!includes(role, Right::Users) && !includes(role, Right::Audit) && !includes(role, Right::Settings));
        }
        assert!(!includes(Role::Operator, Right::Restore) && !includes(Role::Restorer, Right::Operate));
        assert_eq!(rights(Role::Viewer), [Right::Read]);
    }
}
