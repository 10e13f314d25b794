//! Pictures of the page, for the documentation: `testbed demo --pictures docs/images`.

use std::path::{Path, PathBuf};

use testbed::error::Context;
use testbed::{Browser, Page, Result};

/// A page that stays open while the story is told.
pub struct Pictures {
    folder: PathBuf,
    page: Page,
    _browser: Browser,
}

impl Pictures {
    /// Opens the page of this admin server.
    pub fn new(folder: &Path, admin: &str) -> Result<Self> {
        std::fs::create_dir_all(folder).context(format!("can't make {}", folder.display()))?;
        let browser = Browser::start()?;
        let page = browser.open(&format!("http://{admin}/#/sink/elasticsearch"), 1_180, 900)?;
        page.wait_for_text("live")?;
        Ok(Pictures {
            folder: folder.to_owned(),
            page,
            _browser: browser,
        })
    }

    /// Takes one as soon as it says `text`, which it must.
    pub fn take(&self, when: &str, text: &str) -> Result<()> {
        self.page.wait_for_text(text)?;
        let file = self.folder.join(format!("page-{when}.png"));
        self.page.screenshot(&file)
    }
}
