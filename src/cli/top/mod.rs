//! `outflow top`: a running process, live in a terminal.
//!
//! | file | owns |
//! |---|---|
//! | `app` | what is shown, and what keys do to it (pure) |
//! | `view` | that on a terminal of any size (pure) |
//! | `history` | lags of the last minutes (pure) |
//! | here | the terminal, the keys as they come, and a thread that asks once a second |

mod app;
mod history;
mod view;

use std::io::{self, IsTerminal as _};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use ratatui::crossterm::event::{self, Event, KeyEventKind};

use self::app::{App, Flow};
use self::view::Palette;
use super::lag::Process;
use super::signals::Signals;
use super::{Exit, fail, say};
use crate::error::Error;
use crate::observe::{Client, Picture, Wanted};

/// How often the process is asked.
const EVERY: Duration = Duration::from_secs(1);
/// Keys and answers are looked for at least so often.
const GLANCE: Duration = Duration::from_millis(50);

const AFTER_HELP: &str = "\
Asks a running process (`outflow run` or `outflow monitor`) once a second. It goes on while the
process is away, and says so. NO_COLOR takes the colours away; words say the same.

Keys:
  up, down, page up, page down, home, end   choose (j and k, too)
  Enter, Esc                                into the partitions of a group, and back
  s                                         sort by what is worst, lag, time lag, name
  /                                         only names that contain what is typed
  q, Ctrl-C                                 leave";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Top {
    #[command(flatten)]
    process: Process,
}

/// What comes from the thread that asks.
enum Told {
    /// How all stands, or why that isn't known.
    Answer(Result<Picture, String>),
    /// SIGTERM or SIGINT.
    Signal(Exit),
}

/// Shows it until the user leaves.
pub(super) fn top(arguments: &Top) -> Exit {
    if !(io::stdout().is_terminal() && io::stdin().is_terminal()) {
        say(&"error: `outflow top` needs a terminal; `outflow lag` prints once\n");
        return Exit::Misused;
    }
    let client = match arguments.process.client() {
        Ok(client) => client,
        Err(error) => {
            say(&format!("error: {error}\n"));
            return Exit::Misused;
        }
    };
    let app = App::new(client.url().as_str());
    let (tell, told) = channel();
    let (want, wanted) = channel();
    let asking = thread::Builder::new()
        .name("asks".to_owned())
        .spawn(move || ask(&client, &wanted, &tell));
    if let Err(why) = asking {
        return fail(&Error::unavailable(format!("no thread that asks: {why}")));
    }
    // A panic puts the terminal back, too.
    let shown = ratatui::try_init().and_then(|mut terminal| {
        let shown = show(&mut terminal, app, &told, &want);
        ratatui::try_restore().and(shown)
    });
    match shown {
        Ok(exit) => exit,
        Err(why) => {
            ratatui::restore();
            fail(&Error::unavailable(format!("the terminal: {why}")))
        }
    }
}

fn show(
    terminal: &mut ratatui::DefaultTerminal,
    mut app: App,
    told: &Receiver<Told>,
    want: &Sender<Wanted>,
) -> io::Result<Exit> {
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let palette = Palette {
        has_colours: !no_colour,
    };
    let mut next_draw = Instant::now();
    loop {
        let now = Instant::now();
        if now >= next_draw {
            terminal.draw(|frame| view::draw(frame, &app, palette, now))?;
            // Ages grow though nothing happens.
            next_draw = now + EVERY;
        }
        if event::poll(GLANCE)? {
            next_draw = now;
            let before = app.open.clone();
            if let Event::Key(key) = event::read()?
                && key.kind != KeyEventKind::Release
                && app.press(key) == Flow::Quit
            {
                return Ok(Exit::Fine);
            }
            if app.open != before {
                let _ = want.send(app.wanted());
            }
        }
        loop {
            match told.try_recv() {
                Ok(Told::Answer(answer)) => app.take(answer, Instant::now()),
                Ok(Told::Signal(exit)) => return Ok(exit),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    return Err(io::Error::other("the thread that asks has ended"));
                }
            }
            next_draw = now;
        }
    }
}

/// Asks once a second, and at once when something else is wanted, until nobody listens.
fn ask(client: &Client, wanted: &Receiver<Wanted>, tell: &Sender<Told>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(why) => {
            let _ = tell.send(Told::Answer(Err(format!("nothing can be asked: {why}"))));
            return;
        }
    };
    runtime.block_on(async {
        let Ok(mut signals) = Signals::new() else {
            return;
        };
        let mut now_wanted = Wanted::default();
        loop {
            let answer = tokio::select! {
                answer = client.picture(&now_wanted) => answer.map_err(|error| error.what),
                exit = signals.next() => {
                    let _ = tell.send(Told::Signal(exit));
                    return;
                }
            };
            if tell.send(Told::Answer(answer)).is_err() {
                return;
            }
            let until = Instant::now() + EVERY;
            while Instant::now() < until {
                let newest = wanted.try_iter().last();
                if let Some(newest) = newest {
                    now_wanted = newest;
                    break;
                }
                tokio::select! {
                    () = tokio::time::sleep(GLANCE) => {}
                    exit = signals.next() => {
                        let _ = tell.send(Told::Signal(exit));
                        return;
                    }
                }
            }
        }
    });
}
