//! What minisign 0.11 made of a message, for tests.

pub const PUBLIC_KEY: &str = "RWR8XiHO5McPQOK0bad6fjwBA9HspVCQlZJaHxsETHC4Kz6WsptIoHYn";
pub const OTHER_PUBLIC_KEY: &str = "RWRjGL29+qiC7gPJB3zvUXynpwasRfUdbDViTarKIbMzAXoRWk1SIJl1";
pub const SIGNED: &[u8] = b"a bundle";
/// By the key of [`PUBLIC_KEY`], the message prehashed.
pub const SIGNATURE: &str = "\
untrusted comment: signature from minisign secret key
RUR8XiHO5McPQA/y8HWHKEaWe9Xp89j1wifs7VIN5SKG5SkstGDb5jcmd8tIdy2I6oMLID77CNmO+ia3mjaUYtBwIV1m0trsOQs=
trusted comment: a comment
+u+PCy/oZjN0TCQpib4l31FU55b9/JNsn3ZDF1qgMIU67kgGu6+1vfCoGKuqlGl8+NIU4cWDovrSOFabPJs4CQ==
";
/// Likewise, the message as it is (`minisign -l`).
pub const LEGACY_SIGNATURE: &str = "\
untrusted comment: signature from minisign secret key
RWR8XiHO5McPQHbveyqcFbz61+4xCenE4l+oA2xf9bfik4spXdh8ga0hWuzUNhMFPHJY7rXHh5ingVs+xjUqfvfNRxIdrmaxJw0=
trusted comment: a comment
wSS7vuCP6NuSyX5Po+lLqcSq55yRRJce1DriWmSNA0cubpYn4bUCVtUPS0tt4lF1bUMbnwXLFVOnYw1c3ZdRDA==
";
