//! Where settings come from, which win, and how wrong ones are told.

use super::*;

#[test]
fn links_begin_with_a_whole_address() {
    for good in ["https://flows.example.com", "http://10.0.0.1:8080/", "https://example.com/flows/"] {
        let settings = load(&format!("public_url = {good:?}\n"), &[], Flags::default()).unwrap();
        assert_eq!(settings.public_url.as_deref(), Some(good));
    }
    for bad in [
        "http://",
        "https://?x",
        "flows.example.com",
        "ftp://example.com",
        "https://a.example/?b",
        "https://a b",
    ] {
        let refused = load(&format!("public_url = {bad:?}\n"), &[], Flags::default()).unwrap_err();
        assert!(refused.to_string().contains("is no address such as"), "{bad}: {refused}");
    }
}

fn load(file: &str, environment: &[(&str, &str)], flags: Flags) -> anyhow::Result<Settings> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stepwell.toml");
    std::fs::write(&path, file).unwrap();
    let variables: Vec<(String, String)> =
        environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    Settings::load(&Flags { config: Some(path), ..flags }, variables.into_iter())
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let file = "listen = \"127.0.0.1:1\"\ndata = \"/from-file\"\n[limits]\nconcurrent_runs = 7\n";
    let environment = [
        ("STEPWELL_LISTEN", "127.0.0.1:2"),
        ("STEPWELL_SMTP__HOST", "mail"),
        ("STEPWELL_SMTP__FROM", "a@b.c"),
    ];
    let flags = Flags { listen: Some("127.0.0.1:3".into()), ..Flags::default() };
    let settings = load(file, &environment, flags).unwrap();
    assert_eq!(settings.listen.port(), 3);
    assert_eq!(settings.data, PathBuf::from("/from-file"));
    assert_eq!(settings.limits.concurrent_runs, 7);
    assert_eq!(settings.smtp.unwrap().host, "mail");
    assert_eq!(load(file, &environment[..1], Flags::default()).unwrap().listen.port(), 2);
}

#[test]
fn lists_come_from_the_environment_with_commas() {
    let environment = [("STEPWELL_OUTBOUND__ALLOW_PRIVATE_HOSTS", "10.0.0.0/8,127.0.0.1")];
    let settings = load("", &environment, Flags::default()).unwrap();
    assert_eq!(settings.outbound.allow_private_hosts, ["10.0.0.0/8", "127.0.0.1"]);
}

#[test]
fn what_the_environment_says_is_text_until_a_setting_says_otherwise() {
    for password in ["00123", "true", "1e5", "0x10", "-7", "a,b", " spaced ", "9007199254740993"] {
        let environment = [
            ("STEPWELL_SMTP__HOST", "0123"),
            ("STEPWELL_SMTP__FROM", "a@b.c"),
            ("STEPWELL_SMTP__USERNAME", "false"),
            ("STEPWELL_SMTP__PASSWORD", password),
            ("STEPWELL_SMTP__PORT", "2525"),
            ("STEPWELL_LIMITS__CONCURRENT_RUNS", "7"),
            ("STEPWELL_LIMITS__CONNECTIONS", "9"),
            ("STEPWELL_DEV", "true"),
            ("STEPWELL_LOG__FORMAT", "json"),
            ("STEPWELL_DATA", "1"),
        ];
        let settings = load("", &environment, Flags::default()).unwrap();
        let smtp = settings.smtp.unwrap();
        assert_eq!(smtp.password.as_deref(), Some(password));
        assert_eq!((smtp.username.as_deref(), smtp.host.as_str()), (Some("false"), "0123"));
        assert_eq!((settings.limits.concurrent_runs, settings.limits.connections), (7, Some(9)));
        assert_eq!((settings.dev, settings.log.format), (true, LogFormat::Json));
        assert_eq!(settings.data, PathBuf::from("1"));
    }
}

#[test]
fn sizes_are_numbers_or_have_units_in_the_file_and_in_the_environment() {
    let file = "[limits]\nhook_body_bytes = \"16MiB\"\napi_body_bytes = 1000000\n";
    let environment =
        [("STEPWELL_LIMITS__FREE_DISK_BYTES", "1 GiB"), ("STEPWELL_SANDBOX__MAX_MEMORY_BYTES", "1048576")];
    let settings = load(file, &environment, Flags::default()).unwrap();
    assert_eq!((settings.limits.hook_body_bytes, settings.limits.api_body_bytes), (16 << 20, 1_000_000));
    assert_eq!((settings.limits.free_disk_bytes, settings.sandbox.max_memory_bytes), (1 << 30, 1 << 20));
}

#[test]
fn wrong_names_and_values_are_named() {
    for (file, environment, says) in [
        ("lisen = \"x\"", vec![], "lisen"),
        ("", vec![("STEPWELL_LIMITS__CONCURENT_RUNS", "3")], "STEPWELL_LIMITS__CONCURRENT_RUNS?"),
        ("listen = \"nowhere\"", vec![], "listen"),
        ("", vec![("STEPWELL_LIMITS__CONCURRENT_RUNS", "many")], "concurrent_runs"),
        ("", vec![("STEPWELL_DEV", "perhaps")], "dev"),
        ("", vec![("STEPWELL_LIMITS__BODY_IDLE_MS", "0")], "limits.body_idle_ms"),
        ("", vec![("STEPWELL_LIMITS__HOOK_BODY_BYTES", "8MeB")], "hook_body_bytes"),
        ("[limits]\nhook_body_bytes = -1", vec![], "hook_body_bytes"),
        ("[limits]\nbodies_bytes = \"1MiB\"", vec![], "limits.bodies_bytes"),
        (
            "[limits]\nbodies_bytes = \"32MiB\"\nhook_body_bytes = \"17MiB\"",
            vec![],
            "limits.hook_body_bytes is 17825792; it must be at most half of limits.bodies_bytes (16777216)",
        ),
        ("[limits]\nconcurrent_runs = 0", vec![], "at least 1"),
        ("[limits]\ncache_bytes = \"1MiB\"", vec![], "limits.cache_bytes"),
        ("[sandbox]\ncompile_seconds = 0", vec![], "sandbox.compile_seconds is 0; it must be from 1 to 3600"),
        ("[sandbox]\ncompile_seconds = 3601", vec![], "it must be from 1 to 3600"),
        ("", vec![("STEPWELL_SANDBOX__COMPILE_MEMORY_BYTES", "1MiB")], "at least 192 MiB"),
        ("[outbound]\nallow_private_hosts = [\"ten\"]", vec![], "`ten`"),
        ("dev = true\nlisten = \"0.0.0.0:80\"", vec![], "loopback only"),
        ("= 3", vec![], "stepwell.toml"),
        ("lisen = \"x\"", vec![], "stepwell.toml: `lisen` is no setting; did you mean `listen`?"),
        ("[limts]\nhead_ms = 1", vec![], "did you mean `limits.head_ms`?"),
        ("zebra = 1", vec![], "smtp.password"),
        (
            "",
            vec![("STEPWELL_LISTN", "x")],
            "the variable STEPWELL_LISTN names no setting; did you mean STEPWELL_LISTEN?",
        ),
        ("", vec![("STEPWELL_SMTP__HOTS", "x")], "did you mean STEPWELL_SMTP__HOST?"),
        ("", vec![("STEPWELL_LISTEN", "7878")], "`7878` is no address with a port: write 127.0.0.1:7878"),
        ("", vec![("STEPWELL_LISTEN", ":7979")], "write 127.0.0.1:7979"),
        ("[limits]\nhook_body_bytes = \"5Mb\"", vec![], "\"5Mb\" is no size"),
    ] {
        let error = format!("{:#}", load(file, &environment, Flags::default()).unwrap_err());
        assert!(error.contains(says), "{file:?}: {error}");
    }
}

#[test]
fn the_client_s_variables_are_not_settings() {
    let others = [("STEPWELL_KEY", "x"), ("STEPWELL_SERVER", "y"), ("STEPWELL_SECRETS_KEY", "z")];
    let settings = load("", &others, Flags::default()).unwrap();
    assert!(!settings.printed().unwrap().contains('z'), "a key is no setting");
    let file = [("STEPWELL_SECRETS__KEY_FILE", "/run/key")];
    let settings = load("", &file, Flags::default()).unwrap();
    assert_eq!(settings.secrets.key_file, Some(PathBuf::from("/run/key")));
}

#[test]
fn printed_settings_hide_the_password_and_can_be_read_back() {
    let file = "[smtp]\nhost = \"mail\"\nfrom = \"a@b.c\"\nusername = \"u\"\npassword = \"hunter2\"\n";
    let printed = load(file, &[], Flags::default()).unwrap().printed().unwrap();
    assert!(!printed.contains("hunter2") && printed.contains("***"), "{printed}");
    // What is not set has a name all the same.
    assert!(printed.contains("# public_url\n") && printed.contains("# limits.connections\n"), "{printed}");
    assert!(!printed.contains("# smtp.host\n") && printed.contains("# smtp.ca_file\n"), "{printed}");
    load(&printed, &[], Flags::default()).unwrap();
}
