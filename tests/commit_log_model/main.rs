//! Explores the HDFS commit log exhaustively: two owners run the very code that runs in production.

mod check;
mod namespace;
mod shared;
mod world;

use outflow::sinks::hdfs::log::Guards;
use stateright::{Checker, HasDiscoveries, Model, Path, Property};

use namespace::Misuse;
use world::{Bounds, Neglect, Step, World};

/// A model: bounds, and what is switched off.
#[derive(Clone)]
struct Protocol {
    bounds: Bounds,
    guards: Guards,
    neglect: Neglect,
    /// Whether each state is also asked what a new owner would make of it.
    recovers: bool,
}

impl Model for Protocol {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(self.bounds, self.guards, self.neglect)]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        world.steps(steps);
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        let mut world = world.clone();
        world.take(step, self.guards, self.neglect);
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("holds", |_, world| check::check(world).is_ok()),
            Property::always("recovers", |model: &Protocol, world: &World| {
                !model.recovers || check::recovers(world, model.guards).is_ok()
            }),
            Property::sometimes("all is committed", |model: &Protocol, world: &World| {
                world.committed == Some(model.bounds.records)
            }),
        ]
    }
}

/// How it came about, a step a line.
fn story(path: Path<World, Step>) -> String {
    let last = path.last_state();
    let wrong = check::check(last).and_then(|()| check::recovers(last, Guards::default()));
    let mut story = format!("{}\n", wrong.err().unwrap_or_default());
    for (world, step) in path.into_vec() {
        if let Some(step) = step {
            story.push_str(&world.tell(&step));
        }
    }
    story
}

/// Explores everything within `bounds`; the protocol must hold.
fn explore(bounds: Bounds) {
    explore_and(bounds, false);
}

/// The same, and from every state a new owner must be able to finish.
fn explore_and_recover(bounds: Bounds) {
    explore_and(bounds, true);
}

fn explore_and(bounds: Bounds, recovers: bool) {
    let (guards, neglect) = (Guards::default(), Neglect::default());
    let protocol = Protocol {
        bounds,
        guards,
        neglect,
        recovers,
    };
    // Depth first: it needs little memory.
    let checker = protocol.clone().checker().spawn_dfs().join();
    println!("{} states", checker.unique_state_count());
    if checker.discovery("holds").is_some() || checker.discovery("recovers").is_some() {
        panic!("{}", shortest(protocol).unwrap_or_default());
    }
    checker.assert_properties();
}

/// The shortest story of what goes wrong, if anything does.
fn shortest(protocol: Protocol) -> Option<String> {
    let any = HasDiscoveries::AnyFailures;
    let checker = protocol.checker().finish_when(any).spawn_bfs().join();
    println!("{} states", checker.unique_state_count());
    checker
        .discovery("holds")
        .or_else(|| checker.discovery("recovers"))
        .map(story)
}

mod holds {
    use super::*;

    /// Two owners, one opening each.
    const TWO: Bounds = Bounds {
        openings: 2,
        ..Bounds::CALM
    };

    #[test]
    fn with_three_openings() {
        explore_and_recover(Bounds { openings: 3, ..TWO });
    }

    #[test]
    fn with_crashes() {
        explore(Bounds {
            openings: 3,
            crashes: 1,
            ..TWO
        });
    }

    #[test]
    fn with_lost_answers() {
        explore(Bounds {
            lost: 2,
            records: 1,
            ..TWO
        });
    }

    #[test]
    fn with_a_crash_and_a_lost_answer() {
        explore_and_recover(Bounds {
            crashes: 1,
            lost: 1,
            records: 1,
            ..TWO
        });
    }

    #[test]
    fn with_a_new_partition() {
        explore(Bounds {
            has_log: false,
            crashes: 1,
            lost: 1,
            records: 1,
            ..TWO
        });
    }

    #[test]
    fn with_two_files_or_none() {
        explore_and_recover(Bounds {
            crashes: 1,
            other_commits: true,
            ..TWO
        });
    }

    #[test]
    fn with_people_who_meddle() {
        explore_and_recover(Bounds {
            crashes: 1,
            meddling: 2,
            records: 1,
            ..TWO
        });
    }

    #[test]
    fn with_new_topics_and_resets() {
        explore_and_recover(Bounds {
            openings: 3,
            topics: 1,
            resets: 1,
            records: 1,
            ..TWO
        });
    }

    #[test]
    fn with_a_log_that_is_moved() {
        explore_and_recover(Bounds {
            moves: 1,
            ..Bounds::CALM
        });
    }

    #[test]
    fn with_a_log_that_is_moved_between_two_owners() {
        explore(Bounds {
            moves: 1,
            records: 1,
            ..TWO
        });
    }

    #[test]
    fn with_a_log_that_is_moved_and_a_crash() {
        explore_and_recover(Bounds {
            moves: 1,
            crashes: 1,
            records: 1,
            ..Bounds::CALM
        });
    }

    #[test]
    fn with_a_log_that_is_moved_and_a_lost_answer() {
        explore_and_recover(Bounds {
            moves: 1,
            lost: 1,
            records: 1,
            ..Bounds::CALM
        });
    }

    #[test]
    fn with_a_log_that_is_taken_over() {
        explore_and_recover(Bounds {
            moves: 1,
            topics: 1,
            records: 1,
            ..Bounds::CALM
        });
    }

    #[test]
    fn with_stale_reads() {
        explore_and_recover(Bounds {
            crashes: 1,
            stale_reads: true,
            records: 1,
            ..TWO
        });
    }

    #[test]
    fn with_history() {
        explore_and_recover(Bounds {
            crashes: 1,
            most: 1,
            roll_at: 1,
            ..TWO
        });
    }
}

/// More of everything, for `cargo test --release --test commit_log_model -- --ignored`.
mod deep {
    use super::*;

    #[test]
    #[ignore = "minutes in a release build"]
    fn crashes_and_lost_answers() {
        explore(Bounds {
            openings: 3,
            crashes: 1,
            lost: 1,
            ..Bounds::CALM
        });
    }

    #[test]
    #[ignore = "minutes in a release build"]
    fn history() {
        explore_and_recover(Bounds {
            openings: 2,
            crashes: 1,
            records: 3,
            most: 1,
            roll_at: 1,
            ..Bounds::CALM
        });
    }

    #[test]
    #[ignore = "minutes in a release build"]
    fn taking_over() {
        explore_and_recover(Bounds {
            openings: 2,
            moves: 1,
            topics: 1,
            records: 1,
            ..Bounds::CALM
        });
    }

    #[test]
    #[ignore = "minutes in a release build"]
    fn moves() {
        explore(Bounds {
            openings: 2,
            moves: 1,
            crashes: 1,
            ..Bounds::CALM
        });
    }

    #[test]
    #[ignore = "minutes in a release build"]
    fn everything_at_once() {
        explore(Bounds {
            openings: 2,
            crashes: 1,
            lost: 1,
            meddling: 1,
            stale_reads: true,
            other_commits: true,
            records: 1,
            ..Bounds::CALM
        });
    }
}

/// Explores with one guard off, or one duty neglected: there must be a counterexample.
fn finds(bounds: Bounds, guards: Guards, neglect: Neglect, wrong: &str) {
    let protocol = Protocol {
        bounds,
        guards,
        neglect,
        recovers: false,
    };
    let story = shortest(protocol).expect("nothing goes wrong");
    println!("{story}");
    assert!(
        story
            .lines()
            .next()
            .is_some_and(|found| found.contains(wrong)),
        "{story}"
    );
}

macro_rules! guard {
    ($guard:ident, $bounds:expr, $wrong:expr) => {
        #[test]
        fn $guard() {
            let guards = Guards {
                $guard: false,
                ..Guards::default()
            };
            finds($bounds, guards, Neglect::default(), $wrong);
        }
    };
}

macro_rules! duty {
    ($duty:ident, $neglect:expr, $bounds:expr, $wrong:expr) => {
        #[test]
        fn $duty() {
            finds($bounds, Guards::default(), $neglect, $wrong);
        }
    };
}

/// Two owners, one opening each.
const TWO: Bounds = Bounds {
    openings: 2,
    ..Bounds::CALM
};

mod without {
    use super::*;

    guard!(fence, TWO, "reads on at 0, and the log ends at");
    guard!(read_after_fence, TWO, "reads on at 0, and the log ends at");
    guard!(
        prepare_aside,
        Bounds {
            has_log: false,
            ..TWO
        },
        "two owners' folders"
    );
    guard!(
        write_aside,
        Bounds { crashes: 1, ..TWO },
        "counts and is still open"
    );
    guard!(
        fresh_names,
        Bounds { lost: 1, ..TWO },
        "counts and is still open"
    );
    guard!(
        retry_unknown_commit,
        Bounds { lost: 1, ..TWO },
        "rewinds without a cause"
    );
    guard!(
        confirm_commit,
        Bounds { meddling: 1, ..TWO },
        "published twice"
    );
    guard!(confirm_published, Bounds { meddling: 1, ..TWO }, "are lost");
    guard!(done_after_published, TWO, "are lost");
    guard!(redo_publishing, TWO, "aren't published");
    guard!(clean_after_publishing, TWO, "stops without a cause");
    guard!(ack_after_commit, TWO, "aren't published");
    guard!(resume_from_log, TWO, "reads on at 1, and the log ends at 2");
    guard!(
        look_before_fence,
        Bounds { topics: 1, ..TWO },
        "fences the log of another topic"
    );
    guard!(
        same_identity,
        Bounds { topics: 1, ..TWO },
        "fences the log of another topic"
    );
    guard!(
        committed_within_log,
        Bounds { resets: 1, ..TWO },
        "ends before Kafka's offset"
    );
    guard!(
        roll_before_delete,
        Bounds {
            records: 3,
            roll_at: 1,
            ..TWO
        },
        "no entry 0"
    );
}

mod with {
    use super::*;

    duty!(
        renames_that_overwrite,
        Neglect {
            namespace: Misuse {
                rename_overwrites: true,
                ..Misuse::default()
            },
            ..Neglect::default()
        },
        Bounds { meddling: 1, ..TWO },
        "overwritten"
    );
    duty!(
        creates_that_make_parents,
        Neglect {
            namespace: Misuse {
                create_makes_parents: true,
                ..Misuse::default()
            },
            ..Neglect::default()
        },
        TWO,
        "two owners' folders"
    );
    duty!(
        owner_ids_that_repeat,
        Neglect {
            owner_ids_repeat: true,
            ..Neglect::default()
        },
        TWO,
        "reads on at 0, and the log ends at"
    );
    duty!(
        open_files_handed_over,
        Neglect {
            hands_over_open_files: true,
            ..Neglect::default()
        },
        TWO,
        "published and still open"
    );
    duty!(
        handed_over_files_deleted,
        Neglect {
            deletes_what_it_handed_over: true,
            ..Neglect::default()
        },
        Bounds { crashes: 1, ..TWO },
        "are lost"
    );
    /// Found by the new owner that each state is asked for: it writes again what stands in the tree.
    #[test]
    fn replaced_files_left_in_the_tree() {
        let protocol = Protocol {
            bounds: Bounds {
                moves: 1,
                ..Bounds::CALM
            },
            guards: Guards::default(),
            neglect: Neglect {
                leaves_replaced_files: true,
                ..Neglect::default()
            },
            recovers: true,
        };
        let story = shortest(protocol).expect("nothing goes wrong");
        assert!(story.contains("published twice"), "{story}");
    }

    duty!(
        kafka_ahead_of_acks,
        Neglect {
            kafka_runs_ahead: true,
            ..Neglect::default()
        },
        TWO,
        "aren't published"
    );
}
