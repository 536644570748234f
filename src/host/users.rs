//! Names and numbers of users, as /etc/passwd has them (passwd(5)). The C library would ask its
//! modules, which a static program cannot load without harm.

/// The number of the user of this name.
pub fn user_id(name: &str) -> Option<u32> {
    find(&passwd(), |user, _| user == name).map(|(_, id)| id)
}

/// The name of the user of this number.
pub fn user_name(id: u32) -> Option<String> {
    find(&passwd(), |_, other| other == id).map(|(name, _)| name)
}

fn passwd() -> String {
    let bytes = std::fs::read("/etc/passwd").unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn find(passwd: &str, is: impl Fn(&str, u32) -> bool) -> Option<(String, u32)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let id = fields.nth(1)?.parse().ok()?;
        is(name, id).then(|| (name.to_owned(), id))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\n+\nbroken:x:y\nann:x:1000:1000::/:/bin/sh\n";
        assert_eq!(find(passwd, |name, _| name == "ann"), Some(("ann".into(), 1000)));
        assert_eq!(find(passwd, |_, id| id == 0), Some(("root".into(), 0)));
        assert_eq!(find(passwd, |name, _| name == "broken"), None);
        assert_eq!(find("", |_, _| true), None);
        assert_eq!(user_id("nobody at all"), None);
    }
}
