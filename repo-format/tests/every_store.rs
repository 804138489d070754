//! The stories on a directory, in memory, and in object storage as a small engine has it. A large engine is `garage`'s.

mod in_a_directory {
    use repo_format::store::dir::DirStore;
    use std::sync::Arc;

    crate::stories::stories!({
        let dir = tempfile::tempdir().unwrap();
        (Arc::new(DirStore::open(dir.path())), dir)
    });
}

mod in_memory {
    use crate::support::{ROOT, open_store};
    use repo_format::entropy::{Entropy, SeededEntropy};
    use repo_format::store::sim::SimFs;
    use std::path::Path;
    use std::sync::Arc;

    crate::stories::stories!({
        let names: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(77));
        (open_store(&SimFs::new(Path::new(ROOT)), &names), ())
    });
}

#[cfg(feature = "s3")]
mod in_object_storage {
    use crate::support::s3::Engine;

    crate::stories::stories!({
        let engine = Engine::s3s_fs();
        (engine.store("below/here"), engine)
    });
}
