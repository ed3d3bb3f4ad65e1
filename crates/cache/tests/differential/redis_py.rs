//! redis-py, from PyPI, in an environment of its own: only with `QPAIR_CAMPAIGN`, as it is downloaded. Skipped, by
//! name, where that is not possible.

use std::path::Path;
use std::process::Command;

use crate::common::cache;

const SCRIPT: &str = r#"
import sys
import redis
for protocol in (2, 3):
    client = redis.Redis(port=int(sys.argv[1]), protocol=protocol, client_name="py")
    client.flushall()
    assert client.ping() and client.client_getname() in ("py", b"py")
    assert client.set("k", "v", ex=1000) and client.get("k") == b"v" and 900 < client.ttl("k") <= 1000
    assert client.set("k", "w", nx=True) is None and client.set("k", "w", get=True) == b"v"
    assert client.mset({"a": 1, "b": 2.5}) and client.mget("a", "b", "no") == [b"1", b"2.5", None]
    assert client.incr("a", 5) == 6 and client.incrbyfloat("b", 0.1) == 2.6
    assert client.append("s", "x" * 100) == 100 and client.getrange("s", 0, 1) == b"xx" and client.strlen("s") == 100
    with client.pipeline(transaction=False) as pipe:
        for number in range(5000):
            pipe.set(f"n{number}", number)
        assert all(pipe.execute())
    assert sum(1 for _ in client.scan_iter("n*", count=100)) == 5000 and len(client.keys("n1*")) == 1111
    assert client.dbsize() == 5004 and client.delete("k", "no") == 1 and client.exists("k", "a", "a") == 2
    assert client.expire("a", 100) and client.persist("a") and client.type("a") == b"string"
    assert client.config_get("maxmemory*")["maxmemory-policy"] == "allkeys-lfu"
    assert client.info()["redis_version"].startswith("7.") and client.command_count() > 50
    assert any(one["name"] == "py" for one in client.client_list()) and client.memory_usage("a") > 0
    try:
        client.hset("h", "f", "v")
        raise SystemExit("there are no hashes")
    except redis.ResponseError as error:
        assert "unknown command" in str(error), error
print("redis-py", redis.__version__)
"#;

#[test]
fn its_strings_and_keys_are_there() {
    if std::env::var_os("QPAIR_CAMPAIGN").is_none() {
        println!("SKIPPED: redis-py is downloaded by the campaign only");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let python = folder.path().join("bin/python");
    let made = run(Path::new("python3"), &["-m", "venv", &folder.path().to_string_lossy()]);
    if !made || !run(&python, &["-m", "pip", "--quiet", "install", "--retries", "0", "redis"]) {
        println!("SKIPPED: no environment with redis-py can be made (python3-venv, network)");
        return;
    }
    let server = cache(1);
    let port = server.resp().port().to_string();
    assert!(run(&python, &["-c", SCRIPT, &port]), "what redis-py expects");
}

fn run(program: &Path, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).status().is_ok_and(|status| status.success())
}
