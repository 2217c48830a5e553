// Upstream: none
// Downstream: kit, main_job, secure_kafka
// Role: Tests that the connection check names the rights that a worker needs, and those that its users lack.

use kit::mysql::Tables;
use kit::redis::PrivateRedis;
use kit::scene::Scene;

use crate::main_job::{PROGRAM, market};
use crate::secure_kafka::{check_servers, line_of};

const PASSWORD: &str = "Rt-secret-1";

fn scene(name: &str) -> Scene {
    let scene = Scene::new(name, PROGRAM, market(1, 2).data);
    scene.list_codes(&[]);
    scene
}

#[test]
fn check_lists_the_needed_rights_of_each_server() {
    let scene = scene("rightsneeded");
    let (code, text) = check_servers(&scene, "n1");
    assert_eq!(code, Some(0), "{text}");
    for (server, rights) in [
        ("Kafka", "needs Read on the topics of commands"),
        ("Redis", "needs GET, SET, DEL, SCAN on "),
        ("ClickHouse", "needs SELECT, INSERT, ALTER DELETE, CREATE TABLE on rightsneeded"),
        ("MySQL", "needs SELECT, INSERT, UPDATE, DELETE, CREATE on rightsneeded"),
    ] {
        assert!(line_of(&text, server).contains(rights), "{rights:?} in {text}");
    }
}

#[test]
fn check_names_what_a_mysql_user_lacks() {
    let mut scene = scene("rightsmysql");
    let tables = Tables::of(&scene.name);
    let user = "rights_reader";
    tables.run(&format!("CREATE OR REPLACE USER '{user}'@'%' IDENTIFIED BY '{PASSWORD}'"));
    tables.run(&format!("GRANT SELECT, INSERT ON `{}`.* TO '{user}'@'%'", scene.name));
    scene.set("mysql.user", user).set("mysql.password", PASSWORD);
    let (code, text) = check_servers(&scene, "n1");
    tables.run(&format!("DROP USER '{user}'@'%'"));
    let line = line_of(&text, "MySQL");
    assert!(code == Some(1) && line.starts_with("FAILED"), "{text}");
    assert!(line.contains(&format!("the user lacks UPDATE, DELETE, CREATE on {}.*", scene.name)), "{line}");
    assert!(!text.contains(PASSWORD), "a password is shown");
}

#[test]
fn check_names_what_a_redis_user_may_not_send() {
    let redis = PrivateRedis::start();
    let mut scene = scene("rightsredis");
    let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    let rules =
        [format!(">{PASSWORD}"), "~*".to_owned(), "+@connection".to_owned(), "+get".to_owned(), "+set".to_owned()];
    redis::cmd("ACL").arg("SETUSER").arg("worker").arg("on").arg(&rules).exec(&mut connection).unwrap();
    let port = redis.url().trim_end_matches("/0").rsplit_once(':').unwrap().1.to_owned();
    scene.set("redis.host", "127.0.0.1").set("redis.port", port);
    scene.set("redis.user", "worker").set("redis.password", PASSWORD);
    let (code, text) = check_servers(&scene, "n1");
    let line = line_of(&text, "Redis");
    assert!(code == Some(1) && line.starts_with("FAILED"), "{text}");
    assert!(line.contains("may not DEL") && line.contains("so alerts are not shared"), "{line}");
    assert!(!line.contains("may not GET") && !line.contains("may not SET") && !text.contains(PASSWORD), "{line}");
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut connection).unwrap();
    assert_eq!(keys, [""; 0], "the check writes nothing");
}
